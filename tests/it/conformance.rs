//! The adapter against Azure's own word: recorded exchanges read back, and requests held to the official files.
mod bodies;
mod corpus;
mod differential;
mod recorded;
mod requests;
mod strict;

//! The adapter against Azure's own word: recorded exchanges read back, and requests held to the official files.
mod bodies;
mod callers;
mod corpus;
mod coverage;
mod differential;
mod recorded;
mod requests;
mod strict;

//! The fault catalogue on real sockets.
mod answers;
mod callers;
mod connecting;
mod streams;
mod switching;
mod throttling;

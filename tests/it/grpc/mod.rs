//! The gRPC surface over a scripted upstream: real sockets, the real server, the real dispatch loop.
mod calls;
mod errors;
mod input;
mod operations;
mod operator;
mod status;

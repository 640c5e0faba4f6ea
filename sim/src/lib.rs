//! Outages played against the real router: a discrete-event simulation of callers, targets and test calls, and the
//! table of what Sealane claims of its failover. `make sim` prints it.
pub mod chance;
pub mod claims;
pub mod region;
pub mod world;

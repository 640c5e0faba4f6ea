//! The pure heart of Sealane: what things are (`domain`), who may send what where (`policy`), which target serves
//! (`router`), how much a caller may use (`quota`) and how texts travel together (`ingest`). Standard library only: no
//! clock, no random numbers, no input or output. Time and chance are arguments, so that production, tests, models and
//! simulations run the very same code.
pub mod domain;
pub mod ingest;
pub mod policy;
pub mod quota;
pub mod router;

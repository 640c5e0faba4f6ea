//! The one integration test binary: every file is an area, `support` starts what they share.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]
mod audit;
mod azure;
mod canary;
mod cli;
mod config;
mod conformance;
mod dispatch;
mod entra;
mod faults;
mod grpc;
mod identity;
mod ingest;
mod ingest_cli;
mod layers;
mod metrics;
mod policy;
mod quota;
mod regions;
mod reload;
mod simulator;
mod space;
mod support;
mod telemetry;

//! Sealane: one gRPC address for LLM inference, kept alive across Azure OpenAI regions.
//!
//! One call's way: `grpc` decodes protobuf into the domain, `dispatch` asks the pure router of `sealane-core`
//! which permitted target to try, `azure` makes the attempt, the router observes how it ended, and `grpc`
//! encodes the reply. See ARCHITECTURE.md.
pub mod audit;
pub mod azure;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod dispatch;
pub mod grpc;
pub mod identity;
mod in_force;
mod listener;
pub mod ops;
pub mod prober;
pub mod references;
pub mod secret;
pub mod server;
pub mod simulator;
pub mod standings;
pub mod telemetry;
pub mod tls;
pub mod upstream;

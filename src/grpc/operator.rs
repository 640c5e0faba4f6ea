//! `OperatorService`: its place is kept; draining and validating come with the failover engine.
use tonic::{Request, Response, Status};

use super::{
    open_call::OpenCall,
    pb::{self, operator_service_server::OperatorService},
    status::unimplemented,
};

/// The service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Operator;

fn refuse<T>(method: &'static str, request: &Request<T>) -> Status {
    OpenCall::start(method, request).fail(unimplemented(method))
}

#[tonic::async_trait]
impl OperatorService for Operator {
    async fn drain(&self, request: Request<pb::DrainRequest>) -> Result<Response<pb::DrainResponse>, Status> {
        Err(refuse("sealane.v1.OperatorService/Drain", &request))
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Result<Response<pb::ReleaseResponse>, Status> {
        Err(refuse("sealane.v1.OperatorService/Release", &request))
    }

    async fn validate(&self, request: Request<pb::ValidateRequest>) -> Result<Response<pb::ValidateResponse>, Status> {
        Err(refuse("sealane.v1.OperatorService/Validate", &request))
    }
}

//! The services as they are mounted: each call goes by the configuration that is in force when it comes, to its end.
use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use super::{
    Inference, InferenceRules, Operator, Regions,
    pb::{
        self, inference_service_server::InferenceService, operator_service_server::OperatorService,
        region_service_server::RegionService,
    },
};
use crate::{dispatch::Dispatcher, in_force::InForce, upstream::Upstream};

/// All three services.
#[derive(Debug)]
pub struct Current<U> {
    dispatcher: Arc<Dispatcher<U>>,
    rules: Arc<InForce<InferenceRules>>,
}

impl<U> Clone for Current<U> {
    fn clone(&self) -> Self {
        Self { dispatcher: Arc::clone(&self.dispatcher), rules: Arc::clone(&self.rules) }
    }
}

impl<U: Upstream> Current<U> {
    /// Over `dispatcher`, by whatever rules are in force.
    pub fn new(dispatcher: Arc<Dispatcher<U>>, rules: Arc<InForce<InferenceRules>>) -> Self {
        Self { dispatcher, rules }
    }

    fn inference(&self) -> Inference<U> {
        Inference::new(Arc::clone(&self.dispatcher), self.rules.get())
    }

    fn regions(&self) -> Regions<U> {
        Regions::new(Arc::clone(&self.dispatcher), Arc::clone(&self.rules))
    }

    fn operator(&self) -> Operator<U> {
        Operator::new(Arc::clone(&self.dispatcher), self.rules.get())
    }
}

#[tonic::async_trait]
impl<U: Upstream> InferenceService for Current<U> {
    async fn complete(&self, request: Request<pb::CompleteRequest>) -> Result<Response<pb::CompleteResponse>, Status> {
        self.inference().complete(request).await
    }

    type CompleteStreamStream = <Inference<U> as InferenceService>::CompleteStreamStream;

    async fn complete_stream(
        &self,
        request: Request<pb::CompleteRequest>,
    ) -> Result<Response<Self::CompleteStreamStream>, Status> {
        self.inference().complete_stream(request).await
    }

    async fn embed(&self, request: Request<pb::EmbedRequest>) -> Result<Response<pb::EmbedResponse>, Status> {
        self.inference().embed(request).await
    }

    type EmbedStreamStream = <Inference<U> as InferenceService>::EmbedStreamStream;

    async fn embed_stream(
        &self,
        request: Request<Streaming<pb::EmbedStreamRequest>>,
    ) -> Result<Response<Self::EmbedStreamStream>, Status> {
        self.inference().embed_stream(request).await
    }
}

#[tonic::async_trait]
impl<U: Upstream> RegionService for Current<U> {
    async fn region_status(
        &self,
        request: Request<pb::RegionStatusRequest>,
    ) -> Result<Response<pb::RegionStatusResponse>, Status> {
        self.regions().region_status(request).await
    }

    type WatchRegionStatusStream = <Regions<U> as RegionService>::WatchRegionStatusStream;

    async fn watch_region_status(
        &self,
        request: Request<pb::WatchRegionStatusRequest>,
    ) -> Result<Response<Self::WatchRegionStatusStream>, Status> {
        self.regions().watch_region_status(request).await
    }
}

#[tonic::async_trait]
impl<U: Upstream> OperatorService for Current<U> {
    async fn drain(&self, request: Request<pb::DrainRequest>) -> Result<Response<pb::DrainResponse>, Status> {
        self.operator().drain(request).await
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Result<Response<pb::ReleaseResponse>, Status> {
        self.operator().release(request).await
    }

    async fn validate(&self, request: Request<pb::ValidateRequest>) -> Result<Response<pb::ValidateResponse>, Status> {
        self.operator().validate(request).await
    }
}

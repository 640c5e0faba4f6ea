//! The simulated Azure region as the bench's upstream: one that answers as fast as it goes, and one whose streams
//! fall silent after their first word.
use std::{future::pending, net::Ipv4Addr};

use anyhow::{Context as _, Result};
use sealane::simulator::{DeploymentKind, DeploymentSettings, Fault, RegionSettings, SimulatedRegion};
use secrecy::SecretString;

use crate::{
    gateway::KEY,
    workload::{FLOOD_CHUNKS, VECTOR_LENGTH, Work},
};

/// Serves both regions on free loopback ports, which it prints: first the quick one, then the silent one.
pub(crate) async fn serve() -> Result<()> {
    let plain = start(Vec::new())?;
    let idle = start(vec![Fault::StreamStall { at: 1 }.into()])?;
    crate::announce(&[plain.address(), idle.address()])?;
    pending().await
}

fn start(faults: Vec<sealane::simulator::FaultRule>) -> Result<SimulatedRegion> {
    let settings = RegionSettings {
        keys: vec![SecretString::from(KEY)],
        deployments: Work::ALL.map(deployment).to_vec(),
        answer_tokens: FLOOD_CHUNKS as u32,
        captured_requests: 0,
        faults,
        ..RegionSettings::default()
    };
    SimulatedRegion::start(settings, (Ipv4Addr::LOCALHOST, 0).into()).context("cannot listen on loopback")
}

fn deployment(work: Work) -> DeploymentSettings {
    let (kind, model) = match work {
        Work::Embed | Work::EmbedStream => (DeploymentKind::Embedding, "text-embedding-3-small"),
        _ => (DeploymentKind::Chat, "gpt-4o"),
    };
    DeploymentSettings {
        name: work.deployment().to_owned(),
        model: model.to_owned(),
        version: "1".to_owned(),
        kind,
        dimensions: VECTOR_LENGTH as u32,
        // More than any run asks for: the bench measures gateways, not quotas.
        requests_per_minute: u32::MAX,
        tokens_per_minute: u32::MAX,
        ..DeploymentSettings::default()
    }
}

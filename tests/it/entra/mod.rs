//! Entra ID and keys towards Azure: every way to get a token, against simulated identity endpoints on real sockets;
//! what happens when they fail, when a region refuses a token, and when keys change.
mod calls;
mod command_line;
mod configuration;
mod kinds;
mod load;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use azure_core::http::{AsyncRawResponse, HttpClient, Method, Request, headers::Headers};
use sealane::{
    azure::{Azure, Credential, Entra, Identity, IdentityTransport, PathStyle, ResourceSettings, ResponseBounds},
    secret::{Form, Secret},
    simulator::{IdentitySettings, RegionSettings, SimulatedIdentity, SimulatedRegion},
    upstream::Upstream as _,
};
use sealane_core::domain::{Failure, FailureKind};

use crate::support::attempt::{ask, dated, order, patient, settings};

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// An identity endpoint, a region that accepts its tokens, and what was asked of the former.
struct World {
    identity: SimulatedIdentity,
    region: SimulatedRegion,
    asked: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn start(life_seconds: u64) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let known = IdentitySettings { lifetime_seconds: life_seconds, ..IdentitySettings::default() };
        let identity = SimulatedIdentity::start(known, loopback()).unwrap();
        let accepted = RegionSettings { issued_tokens: Some(identity.tokens()), ..RegionSettings::default() };
        let region = SimulatedRegion::start(accepted, loopback()).unwrap();
        Self { identity, region, asked: Arc::default() }
    }

    /// How the resource is reached as this identity.
    fn resource(&self, identity: Identity, path: PathStyle) -> ResourceSettings {
        let entra = Entra { identity: Arc::new(identity), scope: None };
        ResourceSettings { credential: Credential::Entra(entra), ..settings(self.region.address(), path) }
    }

    fn azure(&self, resources: Vec<ResourceSettings>) -> Azure {
        let detour =
            Detour { to: self.identity.address(), client: reqwest::Client::new(), asked: Arc::clone(&self.asked) };
        let transport = IdentityTransport::through(Arc::new(detour));
        Azure::with_identity_transport(resources, ResponseBounds::default(), transport).unwrap()
    }
}

/// One short chat attempt at the first resource.
async fn call(azure: &Azure) -> Result<(), Failure> {
    azure.complete_chat(&order("gpt-4o", patient()), &ask("hi")).await.map(drop)
}

fn kind(outcome: Result<(), Failure>) -> Option<FailureKind> {
    outcome.err().map(|failure| failure.kind)
}

fn client_secret() -> Identity {
    Identity::ClientSecret {
        tenant_id: "simulated-tenant".into(),
        client_id: "application".into(),
        secret: Secret::fixed("simulated-secret", Form::Word).unwrap(),
        authority: "https://login.test/".parse().unwrap(),
    }
}

/// Leads to the simulated endpoint, whatever the address: that of a virtual machine is a constant, and Entra's is TLS.
#[derive(Debug)]
struct Detour {
    to: SocketAddr,
    client: reqwest::Client,
    asked: Arc<Mutex<Vec<String>>>,
}

#[async_trait::async_trait]
impl HttpClient for Detour {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut url = request.url().clone();
        self.asked.lock().unwrap().push(format!("{:?} {url}", request.method()));
        url.set_scheme("http").unwrap();
        url.set_ip_host(self.to.ip()).unwrap();
        url.set_port(Some(self.to.port())).unwrap();
        let mut asking = match request.method() {
            Method::Post => self.client.post(url),
            _ => self.client.get(url),
        };
        for (name, value) in request.headers().iter() {
            asking = asking.header(name.as_str(), value.as_str());
        }
        let azure_core::http::Body::Bytes(body) = request.body().clone() else { panic!("a stream") };
        let response = asking.body(body).send().await;
        let response = response.map_err(|error| azure_core::Error::new(azure_core::error::ErrorKind::Io, error))?;
        let status = response.status().as_u16();
        let mut body = reqwest::Body::from(response);
        let body = http_body_util::BodyExt::collect(&mut body).await.unwrap().to_bytes();
        Ok(AsyncRawResponse::from_bytes(status.into(), Headers::new(), body))
    }
}

fn bearer(region: &SimulatedRegion) -> String {
    let request = region.counters().captured().pop().unwrap();
    request.headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
}

/// What a token says of itself.
fn claims(token: &str) -> serde_json::Value {
    let claims = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

fn styles() -> [(PathStyle, &'static str); 2] {
    [(dated(), "https://cognitiveservices.azure.com"), (PathStyle::V1, "https://ai.azure.com")]
}

//! What the endpoints answer. Shapes: contract section 8.
use std::{
    collections::HashMap,
    future::pending,
    sync::{PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64_simd::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::CONTENT_TYPE, request::Parts};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Endpoint, IdentityFault};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

type Fields = HashMap<String, String>;
type Answer = (StatusCode, Value);

/// Which of the endpoints is asked, as far as its answers differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Entra,
    Managed,
}

impl Endpoint {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, 1 << 20).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let path = head.uri.path();
        if let Some(control) = path.strip_prefix("/_simulator/") {
            return whole(self.control(&head.method, control, &body));
        }
        let asked = match (&head.method, path) {
            (&Method::GET, "/metadata/identity/oauth2/token") => Some(self.virtual_machine(&head)),
            (&Method::GET, "/msi/token") => Some(self.app_service(&head)),
            (&Method::POST, path) => path.strip_suffix("/oauth2/v2.0/token").map(|tenant| self.entra(tenant, &body)),
            _ => None,
        };
        let Some(asked) = asked else { return whole((StatusCode::NOT_FOUND, json!({ "error": "not_found" }))) };
        self.requests.fetch_add(1, Relaxed);
        match self.fault() {
            None | Some(IdentityFault::Expired | IdentityFault::InvalidClient) => whole(asked),
            Some(IdentityFault::Hang) => pending().await,
            Some(IdentityFault::Malformed) => whole((StatusCode::OK, json!({ "access_token": 7 }))),
            Some(IdentityFault::Status { status }) => {
                let mut response = Response::new(Full::from("<html><body>Service Unavailable</body></html>"));
                *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                response
            }
        }
    }

    fn entra(&self, tenant: &str, body: &[u8]) -> Answer {
        let form = fields(body);
        let given = |name: &str| form.get(name).map(String::as_str);
        if tenant.trim_matches('/') != self.settings.tenant_id {
            return refused("invalid_request", 90002, "Tenant not found.");
        }
        if given("grant_type") != Some("client_credentials") || given("client_id").is_none_or(str::is_empty) {
            return refused("invalid_request", 900144, "The request body lacks a parameter.");
        }
        let known = match (given("client_secret"), given("client_assertion")) {
            (Some(secret), None) => secret == self.settings.client_secret.expose_secret(),
            (None, Some(assertion)) => {
                let trusted = self.assertions.lock().unwrap_or_else(PoisonError::into_inner);
                given("client_assertion_type") == Some(ASSERTION_TYPE)
                    && trusted.iter().any(|known| known.expose_secret() == assertion.trim())
            }
            _ => false,
        };
        if !known || self.fault() == Some(IdentityFault::InvalidClient) {
            return refused("invalid_client", 7000215, "Invalid client secret provided.");
        }
        match given("scope").and_then(|scope| scope.strip_suffix("/.default")) {
            Some(audience) => self.issue(Shape::Entra, audience, given("client_id")),
            None => refused("invalid_scope", 1002012, "The provided value for scope is not valid."),
        }
    }

    fn virtual_machine(&self, head: &Parts) -> Answer {
        if text(&head.headers, "metadata") != Some("true") {
            let told = "Required metadata header not specified";
            return (StatusCode::BAD_REQUEST, json!({ "error": "invalid_request", "error_description": told }));
        }
        self.managed(head)
    }

    fn app_service(&self, head: &Parts) -> Answer {
        if text(&head.headers, "x-identity-header") != Some(self.settings.identity_header.expose_secret()) {
            return (StatusCode::FORBIDDEN, json!({ "statusCode": 403, "message": "Forbidden" }));
        }
        self.managed(head)
    }

    fn managed(&self, head: &Parts) -> Answer {
        let query = fields(head.uri.query().unwrap_or_default().as_bytes());
        let bad = |told| (StatusCode::BAD_REQUEST, json!({ "error": "invalid_request", "error_description": told }));
        match query.get("resource") {
            _ if !query.contains_key("api-version") => bad("Required query variable 'api-version' is missing"),
            _ if self.fault() == Some(IdentityFault::InvalidClient) => bad("Identity not found"),
            Some(audience) if !audience.ends_with("/.default") => {
                self.issue(Shape::Managed, audience, query.get("client_id").map(String::as_str))
            }
            _ => bad("Required query variable 'resource' is missing"),
        }
    }

    /// A token that looks like one of Entra ID's, with a signature that proves nothing.
    fn issue(&self, shape: Shape, audience: &str, client: Option<&str>) -> Answer {
        let life = match self.fault() {
            Some(IdentityFault::Expired) => 0,
            _ => self.settings.lifetime_seconds,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = json!({
            "aud": audience, "appid": client, "tid": self.settings.tenant_id, "iat": now, "exp": now + life,
            "uti": format!("simulated-{}", self.serial.fetch_add(1, Relaxed)),
        });
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode_to_string(value.to_string());
        let token = format!("{}.{}.c2ltdWxhdGVk", encoded(&json!({ "typ": "JWT", "alg": "RS256" })), encoded(&claims));
        // Whole seconds since 1970 lose a part of the first one.
        let expires = Instant::now() + Duration::from_secs(life);
        self.tokens.add(token.clone(), expires);
        let answer = match shape {
            Shape::Entra => {
                json!({ "token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token })
            }
            Shape::Managed => json!({
                "access_token": token, "expires_on": (now + life).to_string(), "resource": audience,
                "token_type": "Bearer",
            }),
        };
        (StatusCode::OK, answer)
    }

    fn control(&self, method: &Method, path: &str, body: &[u8]) -> Answer {
        match (method, path) {
            (&Method::GET, "state") => {}
            (&Method::PUT, "fault") => match serde_json::from_slice(body) {
                Ok(fault) => self.fail(Some(fault)),
                Err(error) => return (StatusCode::BAD_REQUEST, json!({ "error": error.to_string() })),
            },
            (&Method::DELETE, "fault") => self.fail(None),
            (&Method::POST, "revoke") => self.tokens.revoke(),
            _ => return (StatusCode::NOT_FOUND, json!({ "error": "no such control path or method" })),
        }
        (StatusCode::OK, json!({ "requests": self.requests.load(Relaxed), "fault": self.fault() }))
    }
}

fn refused(error: &str, code: u32, told: &str) -> Answer {
    let body = json!({
        "error": error, "error_description": format!("AADSTS{code}: {told}"), "error_codes": [code],
        "timestamp": "2026-01-01 00:00:00Z", "trace_id": "simulated", "correlation_id": "simulated",
    });
    (if error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST }, body)
}

fn fields(text: &[u8]) -> Fields {
    form_urlencoded::parse(text).into_owned().collect()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn whole((status, value): Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, super::super::headers::JSON);
    response
}

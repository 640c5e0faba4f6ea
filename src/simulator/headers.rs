//! Response heads: the recorded header set, with everything that can be made beforehand made beforehand.
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use hyper::ext::ReasonPhrase;

use super::chance::mix;
use super::faults::Verdict;
use super::limiter::Quota;
use super::refusal::{ErrorReply, Headers};

/// Names in the order in which recordings list them.
macro_rules! names {
    ($($constant:ident = $name:literal;)*) => {
        $(const $constant: HeaderName = HeaderName::from_static($name);)*
    };
}

names! {
    APIM_REQUEST_ID = "apim-request-id";
    MODEL_SESSION = "azureml-model-session";
    SKIP_REMAPPING = "skip-error-remapping";
    TRANSPORT_SECURITY = "strict-transport-security";
    ACCEL_BUFFERING = "x-accel-buffering";
    CONTENT_TYPE_OPTIONS = "x-content-type-options";
    DEPLOYMENT_NAME = "x-ms-deployment-name";
    SPILLED_OVER = "x-ms-is-spilled-over";
    SPILLOVER_FROM = "x-ms-spillover-from-deployment";
    RAI_INVOKED = "x-ms-rai-invoked";
    REGION = "x-ms-region";
    ABUSE_PENALTY = "x-ratelimit-abusepenalty-active";
    LIMIT_REQUESTS = "x-ratelimit-limit-requests";
    LIMIT_TOKENS = "x-ratelimit-limit-tokens";
    REMAINING_REQUESTS = "x-ratelimit-remaining-requests";
    REMAINING_TOKENS = "x-ratelimit-remaining-tokens";
    RENEWAL_REQUESTS = "x-ratelimit-renewalperiod-requests";
    RENEWAL_TOKENS = "x-ratelimit-renewalperiod-tokens";
    RESET_REQUESTS = "x-ratelimit-reset-requests";
    RESET_TOKENS = "x-ratelimit-reset-tokens";
    REQUEST_ID = "x-request-id";
    UTILIZATION = "azure-openai-deployment-utilization";
}

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
pub(super) const HTML: HeaderValue = HeaderValue::from_static("text/html");

/// A UUID (version 4 in form) that is unique for each `serial`.
fn uuid(serial: u64) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bits = (u128::from(mix(serial)) << 64) | u128::from(mix(serial ^ u64::MAX));
    let bits = bits & !(0xf_u128 << 76) | (0x4_u128 << 76);
    let bits = bits & !(0x3_u128 << 62) | (0x2_u128 << 62);
    let mut text = [b'-'; 36];
    let mut shift = 128;
    for (position, slot) in text.iter_mut().enumerate() {
        if !matches!(position, 8 | 13 | 18 | 23) {
            shift -= 4;
            *slot = HEX[(bits >> shift) as usize & 0xf];
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

/// Headers that depend on the region alone.
#[derive(Debug)]
pub(super) struct HeaderSet {
    region: Option<HeaderValue>,
}

impl HeaderSet {
    pub(super) fn new(display_name: &str) -> Self {
        Self { region: HeaderValue::from_str(display_name).ok() }
    }

    fn region(&self, verdict: &Verdict) -> Option<HeaderValue> {
        match &verdict.region_header {
            Some(other) => other.as_deref().and_then(|other| HeaderValue::from_str(other).ok()),
            None => self.region.clone(),
        }
    }

    /// The head of a 200 from a model. `filtered`: the content filter was asked, as for chat.
    pub(super) fn answered(
        &self,
        serial: u64,
        content_type: HeaderValue,
        deployment: &HeaderValue,
        quota: Quota,
        filtered: bool,
        verdict: &Verdict,
    ) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(32);
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(APIM_REQUEST_ID, uuid(serial));
        headers.insert(MODEL_SESSION, HeaderValue::from_static("d20260330170902-0e618f323d34"));
        headers.insert(SKIP_REMAPPING, HeaderValue::from_static("true"));
        secure(&mut headers);
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        let spillover = verdict.spillover.as_deref().and_then(|name| HeaderValue::from_str(name).ok());
        headers.insert(SPILLED_OVER, HeaderValue::from_static(if spillover.is_some() { "true" } else { "false" }));
        if spillover.is_some() {
            headers.insert(SPILLOVER_FROM, deployment.clone());
        }
        headers.insert(DEPLOYMENT_NAME, spillover.unwrap_or_else(|| deployment.clone()));
        if filtered {
            headers.insert(RAI_INVOKED, HeaderValue::from_static("true"));
        }
        if let Some(region) = self.region(verdict) {
            headers.insert(REGION, region);
        }
        headers.insert(ABUSE_PENALTY, HeaderValue::from_static("False"));
        headers.insert(LIMIT_REQUESTS, quota.limit_requests.into());
        headers.insert(LIMIT_TOKENS, quota.limit_tokens.into());
        headers.insert(REMAINING_REQUESTS, quota.remaining_requests.into());
        headers.insert(REMAINING_TOKENS, quota.remaining_tokens.into());
        headers.insert(RENEWAL_REQUESTS, HeaderValue::from_static("60"));
        headers.insert(RENEWAL_TOKENS, HeaderValue::from_static("60"));
        headers.insert(RESET_REQUESTS, quota.reset_requests_ms.into());
        headers.insert(RESET_TOKENS, quota.reset_tokens_ms.into());
        headers.insert(REQUEST_ID, uuid(serial ^ (1 << 63)));
        injected(&mut headers, verdict);
        headers
    }

    /// The head of an answer that no model gave: the models list, the status page.
    pub(super) fn plain(&self, serial: u64, content_type: HeaderValue, verdict: &Verdict) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(APIM_REQUEST_ID, uuid(serial));
        secure(&mut headers);
        if let Some(region) = self.region(verdict) {
            headers.insert(REGION, region);
        }
        injected(&mut headers, verdict);
        headers
    }

    /// The head and body of an error.
    pub(super) fn error(&self, serial: u64, reply: ErrorReply, verdict: &Verdict) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(reply.body));
        *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(reason) = reply.reason {
            response.extensions_mut().insert(ReasonPhrase::from_static(reason.as_bytes()));
        }
        let headers = response.headers_mut();
        headers.insert(APIM_REQUEST_ID, uuid(serial));
        if let Some(content_type) = reply.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if reply.headers != Headers::FrontEnd {
            secure(headers);
            if let Some(region) = self.region(verdict) {
                headers.insert(REGION, region);
            }
        }
        if reply.headers == Headers::Model {
            headers.insert(REQUEST_ID, uuid(serial ^ (1 << 63)));
        }
        for (name, value) in reply.extra {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        injected(headers, verdict);
        response
    }
}

fn secure(headers: &mut HeaderMap) {
    headers.insert(TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains; preload"));
    headers.insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Headers that faults add.
fn injected(headers: &mut HeaderMap, verdict: &Verdict) {
    let utilization = verdict.utilization.and_then(|percent| HeaderValue::from_str(&format!("{percent:.1}%")).ok());
    if let Some(value) = utilization {
        headers.insert(UTILIZATION, value);
    }
    for (name, value) in &verdict.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_have_the_form_of_a_version_4_uuid() {
        let form = regex::Regex::new("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$").unwrap();
        for serial in 0..100 {
            let id = uuid(serial);
            assert!(form.is_match(id.to_str().unwrap()), "{id:?}");
            assert_ne!(id, uuid(serial + 1));
        }
    }
}

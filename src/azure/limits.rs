//! What Azure's response headers say: evidence of who answered, and what is left of the quota (contract section 6).
//! Every one is optional, and none is trusted beyond its length.
use http::{HeaderMap, HeaderName};
use sealane_core::domain::{Evidence, Quota};

const REGION: HeaderName = HeaderName::from_static("x-ms-region");
const DEPLOYMENT: HeaderName = HeaderName::from_static("x-ms-deployment-name");
const SPILLED_OVER: HeaderName = HeaderName::from_static("x-ms-is-spilled-over");
const REQUEST_ID: HeaderName = HeaderName::from_static("apim-request-id");
const MODEL_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
const LIMIT_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const LIMIT_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-limit-tokens");

/// Longer values are cut: they come from outside and end up in replies and spans.
const LONGEST_VALUE: usize = 128;

/// Reads them all.
pub(super) fn evidence(status: u16, headers: &HeaderMap) -> Evidence {
    let spilled = text(headers, SPILLED_OVER).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    // One page writes `x-ms-spillover-from-deployment`, the same page also `x-ms-spillover-from-<name>`.
    let from = headers.keys().any(|name| name.as_str().starts_with("x-ms-spillover-from"));
    Evidence {
        http_status: Some(status),
        reported_region: text(headers, REGION),
        reported_deployment: text(headers, DEPLOYMENT),
        spilled_over: spilled || from,
        request_id: text(headers, REQUEST_ID),
        model_request_id: text(headers, MODEL_REQUEST_ID),
        quota: Quota {
            remaining_requests: number(headers, REMAINING_REQUESTS),
            remaining_tokens: number(headers, REMAINING_TOKENS),
            limit_requests: number(headers, LIMIT_REQUESTS),
            limit_tokens: number(headers, LIMIT_TOKENS),
        },
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    // Visible ASCII, so that any byte is a character's end.
    Some(value.get(..LONGEST_VALUE).unwrap_or(value).to_owned())
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

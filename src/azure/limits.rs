//! What Azure's response headers say: evidence of who answered, and what is left of the quota (contract section 6).
//! Every one is optional, and none is trusted beyond its length.
use http::HeaderMap;
use sealane_core::domain::{Evidence, Quota};

/// Longer values are cut: they come from outside and end up in replies and spans.
const LONGEST_VALUE: usize = 128;

/// Reads them all.
pub(super) fn evidence(status: u16, headers: &HeaderMap) -> Evidence {
    let spilled = text(headers, "x-ms-is-spilled-over").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    // One page writes `x-ms-spillover-from-deployment`, the same page also `x-ms-spillover-from-<name>`.
    let from = headers.keys().any(|name| name.as_str().starts_with("x-ms-spillover-from"));
    Evidence {
        http_status: Some(status),
        reported_region: text(headers, "x-ms-region"),
        reported_deployment: text(headers, "x-ms-deployment-name"),
        spilled_over: spilled || from,
        request_id: text(headers, "apim-request-id"),
        model_request_id: text(headers, "x-request-id"),
        quota: Quota {
            remaining_requests: number(headers, "x-ratelimit-remaining-requests"),
            remaining_tokens: number(headers, "x-ratelimit-remaining-tokens"),
            limit_requests: number(headers, "x-ratelimit-limit-requests"),
            limit_tokens: number(headers, "x-ratelimit-limit-tokens"),
        },
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.chars().take(LONGEST_VALUE).collect())
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

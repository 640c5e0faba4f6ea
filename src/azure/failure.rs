//! Azure's refusals -> [`FailureKind`]: the one table, row by row of contract section 5.
//!
//! Bodies are read leniently (`error` may be a bare string, the wrapper may be missing, codes may be numbers, HTML may
//! stand in for JSON, `Content-Type` is not asked) and nothing of their text is kept: only codes, parameter and
//! category names, cut to a harmless alphabet.
use std::{
    io,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, StatusCode};
use sealane_core::domain::{BadResponse, ConnectFailure, FailureKind, Rejection};
use serde_json::Value;

use super::resolver::{ForbiddenAddress, Unresolved};

/// What a response other than 200 means.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> FailureKind {
    let error = Envelope::read(body);
    match status.as_u16() {
        300..=399 => FailureKind::Redirected,
        400 | 415 | 422 => FailureKind::Rejected(rejection(&error)),
        401 => FailureKind::Unauthorized,
        403 => FailureKind::Forbidden,
        404 if error.code.as_deref() == Some("DeploymentNotFound") => FailureKind::DeploymentNotFound,
        404 => FailureKind::PathNotFound,
        408 => FailureKind::RequestTimeout,
        409 => FailureKind::Conflict,
        413 => FailureKind::Rejected(Rejection::TooLarge),
        424 => FailureKind::FailedDependency,
        429 => FailureKind::Throttled { retry_after: retry_hint(headers, now) },
        431 => FailureKind::Rejected(Rejection::HeadersTooLarge),
        // A 503 is an outage unless Azure itself says that it is about capacity, and when to come back.
        503 if error.is_about_capacity() && has_hint(headers) => {
            FailureKind::Throttled { retry_after: retry_hint(headers, now) }
        }
        502..=504 => FailureKind::Unavailable,
        500..=599 => FailureKind::ServerError,
        _ => FailureKind::BadResponse(BadResponse::UnexpectedStatus),
    }
}

/// What an error event in the middle of a stream means. Most are outages; what is wrong with the request itself would
/// be wrong everywhere.
pub(super) fn error_event(data: &[u8]) -> FailureKind {
    let error = Envelope::read(data);
    match rejection(&error) {
        rejection @ (Rejection::PromptBlocked { .. } | Rejection::ContextLength) => FailureKind::Rejected(rejection),
        // The status was spent on 200 by then, so the word must do.
        _ if error.is_about_capacity() => FailureKind::Throttled { retry_after: SHORTEST_HINT },
        _ => FailureKind::ErrorEvent { code: error.code },
    }
}

/// Why there is no response head at all.
pub(super) fn transport(error: &reqwest::Error) -> FailureKind {
    let io = || chain(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    // Out of descriptors, ports or memory: that is this machine's trouble and says nothing about the target.
    if io().filter_map(io::Error::raw_os_error).any(|code| OUT_OF_RESOURCES.contains(&code)) {
        return FailureKind::Local { cause: "out_of_resources" };
    }
    if !error.is_connect() {
        return FailureKind::Reset;
    }
    let is_a = |kind| io().any(|cause| cause.kind() == kind);
    FailureKind::Connect(if error.is_timeout() || is_a(io::ErrorKind::TimedOut) {
        ConnectFailure::TimedOut
    } else if is_a(io::ErrorKind::ConnectionRefused) {
        ConnectFailure::Refused
    } else if io().any(is_tls) {
        ConnectFailure::Tls
    } else if chain(error).any(|cause| cause.is::<Unresolved>() || cause.is::<ForbiddenAddress>()) {
        ConnectFailure::Dns
    } else {
        ConnectFailure::Other
    })
}

/// The peer has said that it did nothing with the request, so that it is safe to send it again (RFC 9113, 8.7): it
/// refused the stream, or is closing the connection and will not look at it.
pub(super) fn is_unprocessed(error: &(dyn std::error::Error + 'static)) -> bool {
    chain(error).filter_map(|cause| cause.downcast_ref::<h2::Error>()).any(|error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let leaving = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (refused || leaving)
    })
}

/// `ENOMEM`, `ENFILE`, `EMFILE`, `EADDRNOTAVAIL`, `ENOBUFS`: the same numbers on every Linux.
const OUT_OF_RESOURCES: [i32; 5] = [12, 23, 24, 99, 105];

/// TLS errors travel inside of IO errors inside of IO errors, which do not name them as their source. An end of file
/// before there is a connection can only have cut the handshake.
fn is_tls(error: &io::Error) -> bool {
    let wrapped = |inner: &(dyn std::error::Error + Send + Sync + 'static)| {
        inner.is::<rustls::Error>() || inner.downcast_ref::<io::Error>().is_some_and(is_tls)
    };
    error.kind() == io::ErrorKind::UnexpectedEof || error.get_ref().is_some_and(wrapped)
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |cause| cause.source())
}

fn rejection(error: &Envelope) -> Rejection {
    match error.code.as_deref() {
        Some("content_filter") => Rejection::PromptBlocked { categories: error.filtered_categories.clone() },
        Some("context_length_exceeded") => Rejection::ContextLength,
        Some("OperationNotSupported") => Rejection::OperationNotSupported,
        _ if error.says_too_long => Rejection::ContextLength,
        _ => Rejection::Invalid { code: error.code.clone(), param: error.param.clone() },
    }
}

/// The harmless part of an error body.
#[derive(Debug, Default, PartialEq)]
struct Envelope {
    code: Option<String>,
    param: Option<String>,
    filtered_categories: Vec<String>,
    /// Embeddings have no code for it, only words.
    says_too_long: bool,
}

impl Envelope {
    fn read(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let error = match body.get("error") {
            Some(Value::String(_)) => return Self::default(),
            Some(error) => error,
            None => &body,
        };
        let inner = error.get("innererror").or_else(|| error.get("inner_error"));
        Self {
            code: error.get("code").and_then(harmless).or_else(|| error.get("type").and_then(harmless)),
            param: error.get("param").and_then(harmless).or_else(|| unrecognized(error.get("message")?.as_str()?)),
            filtered_categories: inner.map(filtered_categories).unwrap_or_default(),
            says_too_long: error
                .get("message")
                .and_then(Value::as_str)
                .is_some_and(|message| message.starts_with("This model's maximum context length is")),
        }
    }

    fn is_about_capacity(&self) -> bool {
        const WORDS: [&str; 5] = ["429", "capacity", "toomanyrequests", "overloaded", "rate_limit"];
        let code = self.code.as_deref().unwrap_or_default().to_ascii_lowercase();
        WORDS.iter().any(|word| code.contains(word))
    }
}

/// Azure names an argument that it does not know in its text only. The adapter wrote that name itself, so it is no text
/// of the prompt.
fn unrecognized(message: &str) -> Option<String> {
    let name = message.strip_prefix("Unrecognized request argument supplied: ")?;
    Some(clean(name)).filter(|name| !name.is_empty())
}

/// `content_filter_result` live, `content_filter_results` in the specifications.
fn filtered_categories(inner: &Value) -> Vec<String> {
    let results = inner.get("content_filter_result").or_else(|| inner.get("content_filter_results"));
    let Some(results) = results.and_then(Value::as_object) else { return Vec::new() };
    let filtered = results.iter().filter(|(_, verdict)| verdict.get("filtered") == Some(&Value::Bool(true)));
    filtered.take(16).map(|(category, _)| clean(category)).collect()
}

fn harmless(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => clean(text),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// Codes and names end up in replies, logs and spans: no text of the prompt may come along.
fn clean(text: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']');
    if text.len() > 128 || text.contains(char::is_whitespace) {
        return String::new();
    }
    if text.chars().all(|c| plain(&c)) { text.chars().take(64).collect() } else { String::new() }
}

const SHORTEST_HINT: Duration = Duration::from_secs(1);
const LONGEST_HINT: Duration = Duration::from_secs(60);

fn has_hint(headers: &HeaderMap) -> bool {
    headers.contains_key("retry-after-ms") || headers.contains_key("retry-after")
}

/// When Azure says to come back, clamped: hints of 0 and of 24 hours have both been seen. Without a usable hint, the
/// shortest.
fn retry_hint(headers: &HeaderMap, now: SystemTime) -> Duration {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let span = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
    let milliseconds = || text("retry-after-ms")?.parse::<f64>().ok().and_then(|ms| span(ms / 1000.0));
    let seconds = || text("retry-after")?.parse::<f64>().ok().and_then(span);
    let date = || httpdate::parse_http_date(text("retry-after")?).ok()?.duration_since(now).ok();
    milliseconds().or_else(seconds).or_else(date).unwrap_or(SHORTEST_HINT).clamp(SHORTEST_HINT, LONGEST_HINT)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(status: u16, headers: &[(&str, &str)], body: &str) -> FailureKind {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        refusal(StatusCode::from_u16(status).unwrap(), &map, body.as_bytes(), SystemTime::UNIX_EPOCH)
    }

    fn invalid(code: &str, param: &str) -> FailureKind {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        FailureKind::Rejected(Rejection::Invalid { code: some(code), param: some(param) })
    }

    fn throttled(seconds: u64) -> FailureKind {
        FailureKind::Throttled { retry_after: Duration::from_secs(seconds) }
    }

    #[test]
    fn the_table_of_section_five() {
        let blocked = |spelling: &str, results: &str| {
            format!(
                r#"{{"error":{{"code":"content_filter","param":"prompt","type":null,"status":400,"message":"m","{spelling}":{{"code":"ResponsibleAIPolicyViolation","{results}":{{"hate":{{"filtered":true,
                 "severity":"high"}},"violence":{{"filtered":false,"severity":"safe"}},"jailbreak":{{"filtered":true,
                 "detected":true}}}}}}}}}}"#
            )
        };
        let prompt_blocked = || {
            let categories = vec!["hate".to_owned(), "jailbreak".to_owned()];
            FailureKind::Rejected(Rejection::PromptBlocked { categories })
        };
        for (status, body, expected) in [
            (400, blocked("innererror", "content_filter_result"), prompt_blocked()),
            (400, blocked("innererror", "content_filter_results"), prompt_blocked()),
            (400, blocked("inner_error", "content_filter_result"), prompt_blocked()),
            (400, blocked("inner_error", "content_filter_results"), prompt_blocked()),
            (
                400,
                r#"{"error":{"code":"context_length_exceeded","type":"invalid_request_error","param":"messages"}}"#
                    .into(),
                FailureKind::Rejected(Rejection::ContextLength),
            ),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens, however you requested 8193","type":"invalid_request_error","param":null,"code":null}}"#
                    .into(),
                FailureKind::Rejected(Rejection::ContextLength),
            ),
            (
                400,
                r#"{"error":{"code":"unsupported_parameter","type":"invalid_request_error","param":"max_tokens"}}"#
                    .into(),
                invalid("unsupported_parameter", "max_tokens"),
            ),
            (
                400,
                r#"{"error":{"code":"OperationNotSupported","message":"The embeddings operation"}}"#.into(),
                FailureKind::Rejected(Rejection::OperationNotSupported),
            ),
            (400, r#"{"error":"a bare string"}"#.into(), invalid("", "")),
            (400, r#"{"code":"no_wrapper","param":"top_p"}"#.into(), invalid("no_wrapper", "top_p")),
            (400, r#"{"error":{"code":400,"type":null,"param":null}}"#.into(), invalid("400", "")),
            (
                400,
                r#"{"error":{"code":null,"type":"invalid_request_error"}}"#.into(),
                invalid("invalid_request_error", ""),
            ),
            (
                400,
                r#"{"error":{"code":null,"type":"invalid_request_error","param":null,
                 "message":"Unrecognized request argument supplied: user_security_context"}}"#
                    .into(),
                invalid("invalid_request_error", "user_security_context"),
            ),
            (
                400,
                r#"{"error":{"code":null,"message":"Unrecognized request argument supplied: the secret prompt"}}"#
                    .into(),
                invalid("", ""),
            ),
            (400, r#"{"error":{"code":"the secret prompt","param":"a\nb"}}"#.into(), invalid("", "")),
            (
                400,
                r#"{"error":{"code":"\u001b[31m","param":"messages[0].content"}}"#.into(),
                invalid("", "messages[0].content"),
            ),
            (400, "<html>".into(), invalid("", "")),
            (
                401,
                r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key"}}"#.into(),
                FailureKind::Unauthorized,
            ),
            (
                401,
                r#"{"error":{"code":"PermissionDenied","message":"Principal does not have access"}}"#.into(),
                FailureKind::Unauthorized,
            ),
            (
                403,
                r#"{"error":{"code":"403","message":"Access denied due to Virtual Network/Firewall rules."}}"#.into(),
                FailureKind::Forbidden,
            ),
            (404, r#"{"error":{"code":"DeploymentNotFound","message":"..."}}"#.into(), FailureKind::DeploymentNotFound),
            (404, r#"{"error":{"code":"404","message":"Resource not found"}}"#.into(), FailureKind::PathNotFound),
            (404, String::new(), FailureKind::PathNotFound),
            (408, r#"{"error":{"code":"Timeout"}}"#.into(), FailureKind::RequestTimeout),
            (409, String::new(), FailureKind::Conflict),
            (413, String::new(), FailureKind::Rejected(Rejection::TooLarge)),
            (415, String::new(), invalid("", "")),
            (422, r#"{"error":{"code":"unprocessable","param":"n"}}"#.into(), invalid("unprocessable", "n")),
            (424, String::new(), FailureKind::FailedDependency),
            (429, r#"{"error":{"code":"429"}}"#.into(), throttled(1)),
            (431, String::new(), FailureKind::Rejected(Rejection::HeadersTooLarge)),
            (500, r#"{"error":{"type":"server_error","code":null}}"#.into(), FailureKind::ServerError),
            (501, String::new(), FailureKind::ServerError),
            (502, "<html>Bad Gateway</html>".into(), FailureKind::Unavailable),
            (503, "Service Unavailable".into(), FailureKind::Unavailable),
            (504, String::new(), FailureKind::Unavailable),
            (307, String::new(), FailureKind::Redirected),
            (418, String::new(), FailureKind::BadResponse(BadResponse::UnexpectedStatus)),
            (204, String::new(), FailureKind::BadResponse(BadResponse::UnexpectedStatus)),
        ] {
            assert_eq!(read(status, &[], &body), expected, "{status} {body}");
        }
    }

    #[test]
    fn hints_are_read_in_every_form_and_clamped() {
        for (headers, seconds) in [
            (vec![("retry-after", "7")], 7),
            (vec![("retry-after-ms", "2500"), ("retry-after", "60")], 2),
            (vec![("retry-after", "86400")], 60),
            (vec![("retry-after", "0")], 1),
            (vec![("retry-after-ms", "0")], 1),
            (vec![("retry-after", "-5")], 1),
            (vec![("retry-after", "soon")], 1),
            (vec![("retry-after", "1e300")], 1),
            (vec![("retry-after", "NaN")], 1),
            (vec![("retry-after", "Thu, 01 Jan 1970 00:00:30 GMT")], 30),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], 60),
            (vec![("retry-after", "Thu, 99 Foo 1970 00:00:30 GMT")], 1),
            (vec![], 1),
        ] {
            let FailureKind::Throttled { retry_after } = read(429, &headers, "") else { panic!("{headers:?}") };
            assert_eq!(retry_after.as_secs(), seconds, "{headers:?}");
        }
    }

    #[test]
    fn a_503_is_throttling_only_with_a_hint_and_a_capacity_code() {
        let capacity = r#"{"error":{"code":"NoCapacity"}}"#;
        assert_eq!(read(503, &[("retry-after", "3")], capacity), throttled(3));
        assert_eq!(read(503, &[], capacity), FailureKind::Unavailable);
        assert_eq!(read(503, &[("retry-after", "3")], "{}"), FailureKind::Unavailable);
    }

    #[test]
    fn error_events_are_outages_unless_the_request_is_at_fault() {
        let read = |body: &str| error_event(body.as_bytes());
        assert_eq!(
            read(r#"{"error":{"code":"server_error","message":"m"}}"#),
            FailureKind::ErrorEvent { code: Some("server_error".into()) }
        );
        assert_eq!(read(r#"{"error":"boom"}"#), FailureKind::ErrorEvent { code: None });
        for code in ["429", "rate_limit_exceeded", "NoCapacity"] {
            assert_eq!(read(&format!(r#"{{"error":{{"code":"{code}"}}}}"#)), throttled(1), "{code}");
        }
        assert_eq!(
            read(r#"{"error":{"code":"context_length_exceeded"}}"#),
            FailureKind::Rejected(Rejection::ContextLength)
        );
    }
}

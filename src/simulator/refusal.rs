//! Every error answer of a region, word for word where one was recorded or reported.
use serde_json::{Value, json};

use super::fault::ErrorBody;
use super::limiter::{Exceeded, Limit};

const RETRY_AFTER: &str = "retry-after";
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// Which of Azure's own headers an error carries, as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headers {
    /// `apim-request-id` alone: the front end refused before it knew the region (401, firewall 403).
    FrontEnd,
    /// Also `x-ms-region` and the transport security pair (404).
    Region,
    /// Also `x-request-id`: the model side answered.
    Model,
}

/// An error answer, complete but for the headers that every answer of a region shares.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ErrorReply {
    pub(super) status: u16,
    pub(super) reason: Option<&'static str>,
    pub(super) content_type: Option<&'static str>,
    pub(super) headers: Headers,
    /// Further headers of this error alone, such as `retry-after`.
    pub(super) extra: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl ErrorReply {
    fn new(status: u16, headers: Headers, body: String) -> Self {
        Self { status, reason: None, content_type: Some("application/json"), headers, extra: Vec::new(), body }
    }

    fn model(status: u16, body: &Value) -> Self {
        Self::new(status, Headers::Model, body.to_string())
    }
}

/// 401 with the recorded body and reason phrase.
pub(super) fn bad_key() -> ErrorReply {
    ErrorReply {
        reason: Some("PermissionDenied"),
        ..ErrorReply::new(401, Headers::FrontEnd, r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."}}"#.to_owned())
    }
}

/// 401 as Cognitive Services answers a token past its time.
pub(super) fn expired_credential() -> ErrorReply {
    let body = json!({"error": {"code": "Unauthorized", "message": "Access token is missing, invalid, audience is incorrect, or have expired."}});
    ErrorReply::new(401, Headers::FrontEnd, body.to_string())
}

/// 404 with the recorded body, white space included, and without a content type.
pub(super) fn deployment_not_found() -> ErrorReply {
    ErrorReply {
        content_type: None,
        ..ErrorReply::new(404, Headers::Region, "{\n  \"error\": {\n    \"type\": \"invalid_request_error\",\n    \"code\": \"DeploymentNotFound\",\n    \"message\": \"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.\"\n  }\n}".to_owned())
    }
}

/// 404 for a path or an `api-version` that does not exist.
pub(super) fn resource_not_found() -> ErrorReply {
    let body = json!({"error": {"code": "404", "message": "Resource not found"}});
    ErrorReply::new(404, Headers::FrontEnd, body.to_string())
}

/// 431: more custom headers than the front end passes on.
pub(super) fn too_many_headers() -> ErrorReply {
    let body = json!({"error": {"code": "431", "message": "Request header fields too large"}});
    ErrorReply::new(431, Headers::FrontEnd, body.to_string())
}

/// 413: a body beyond the region's limit.
pub(super) fn body_too_large(limit: usize) -> ErrorReply {
    let message = format!("Request body is larger than {limit} bytes.");
    ErrorReply::new(413, Headers::FrontEnd, json!({"error": {"code": "413", "message": message}}).to_string())
}

/// 400 of the model side, with its usual envelope. What is not known is left out: the official files allow no null.
pub(super) fn invalid(message: impl Into<String>, param: Option<&str>, code: Option<&str>) -> ErrorReply {
    let mut error = json!({"message": message.into(), "type": "invalid_request_error"});
    for (name, value) in [("param", param), ("code", code)] {
        if let Some(value) = value {
            error[name] = json!(value);
        }
    }
    ErrorReply::model(400, &json!({ "error": error }))
}

/// 400: the deployment's model cannot do this operation.
pub(super) fn operation_not_supported(operation: &str, model: &str) -> ErrorReply {
    let message = format!(
        "The {operation} operation does not work with the specified model, {model}. Please choose different model and try again. You can learn more about which models can be used with each operation here: https://go.microsoft.com/fwlink/?linkid=2197993."
    );
    ErrorReply::model(400, &json!({"error": {"code": "OperationNotSupported", "message": message}}))
}

/// 400: the prompt was blocked. Carries `innererror.content_filter_result` as live answers do.
pub(super) fn prompt_blocked() -> ErrorReply {
    ErrorReply::model(
        400,
        &json!({"error": {
            "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry. To learn more about our content filtering policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766",
            "type": null, "param": "prompt", "code": "content_filter", "status": 400,
            "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {
                "hate": {"filtered": false, "severity": "safe"},
                "jailbreak": {"filtered": false, "detected": false},
                "self_harm": {"filtered": false, "severity": "safe"},
                "sexual": {"filtered": false, "severity": "safe"},
                "violence": {"filtered": true, "severity": "medium"}}}}}),
    )
}

/// 429 of a deployment's own limits.
pub(super) fn rate_limited(
    exceeded: Exceeded,
    operation: &str,
    deployment: &str,
    model: &str,
    place: &str,
) -> ErrorReply {
    let limit = match exceeded.limit {
        Limit::Tokens => "token rate limit",
        Limit::Requests => "call rate limit",
    };
    let seconds = exceeded.retry_after_ms.div_ceil(1000).max(1);
    let message = format!(
        "Your requests to {deployment} for {model} in {place} have exceeded the {limit} for your current AIServices S0 pricing tier. This request was for {operation} under Azure OpenAI API. Please retry after {seconds} seconds. To increase your default rate limit, visit: https://aka.ms/oai/quotaincrease."
    );
    throttled(&message, seconds, exceeded.retry_after_ms)
}

/// 429 of shared capacity, or an injected one.
pub(super) fn high_demand(retry_after_seconds: u64) -> ErrorReply {
    let message = format!(
        "The system is currently experiencing high demand and cannot process your request. Please retry after {retry_after_seconds} seconds."
    );
    throttled(&message, retry_after_seconds, retry_after_seconds.saturating_mul(1000))
}

/// 429 of a provisioned deployment whose utilisation has passed 100 %.
pub(super) fn provisioned_full() -> ErrorReply {
    throttled("The provisioned deployment is above 100% utilization. Please retry after 1 seconds.", 1, 1000)
}

fn throttled(message: &str, seconds: u64, milliseconds: u64) -> ErrorReply {
    ErrorReply {
        extra: vec![(RETRY_AFTER, seconds.to_string()), (RETRY_AFTER_MS, milliseconds.to_string())],
        ..ErrorReply::model(429, &json!({"error": {"code": "429", "message": message}}))
    }
}

/// An injected redirect.
pub(super) fn redirect(location: String) -> ErrorReply {
    ErrorReply {
        extra: vec![("location", location)],
        content_type: None,
        ..ErrorReply::new(307, Headers::FrontEnd, String::new())
    }
}

/// An injected error status. The bodies of 401, 404, 408, 429 and 500 are reported ones; nobody has recorded the
/// others, so they take the common envelope.
pub(super) fn injected(
    status: u16,
    retry_after: Option<String>,
    retry_after_ms: Option<u64>,
    body: ErrorBody,
) -> ErrorReply {
    let status = status.clamp(400, 599);
    let mut reply = match (body, status) {
        (ErrorBody::Html, _) => ErrorReply {
            content_type: Some("text/html"),
            ..ErrorReply::new(
                status,
                Headers::FrontEnd,
                format!(
                    "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n</body>\r\n</html>\r\n"
                ),
            )
        },
        (ErrorBody::Empty, _) => {
            ErrorReply { content_type: None, ..ErrorReply::new(status, Headers::FrontEnd, String::new()) }
        }
        (ErrorBody::BareString, _) => ErrorReply::model(status, &json!({"error": format!("status {status}")})),
        (ErrorBody::Json, 401) => bad_key(),
        (ErrorBody::Json, 403) => ErrorReply::new(
            403,
            Headers::FrontEnd,
            json!({"error": {"code": "403", "message": "Access denied due to Virtual Network/Firewall rules."}})
                .to_string(),
        ),
        (ErrorBody::Json, 404) => deployment_not_found(),
        (ErrorBody::Json, 408) => {
            ErrorReply::model(408, &json!({"error": {"code": "Timeout", "message": "The operation was timeout."}}))
        }
        (ErrorBody::Json, 429) => high_demand(1),
        (ErrorBody::Json, 500) => ErrorReply::model(
            500,
            &json!({"error": {"message": "The server had an error while processing your request. Sorry about that!", "type": "server_error", "param": null, "code": null}}),
        ),
        (ErrorBody::Json, 503) => ErrorReply::model(
            503,
            &json!({"error": {"code": "ServiceUnavailable", "message": "The service is temporarily unable to process your request. Please try again later."}}),
        ),
        (ErrorBody::Json, _) => ErrorReply::model(
            status,
            &json!({"error": {"code": status.to_string(), "message": "The request could not be processed."}}),
        ),
    };
    if status != 429 || retry_after.is_some() || retry_after_ms.is_some() {
        let seconds = retry_after.map(|text| (RETRY_AFTER, text));
        let milliseconds = retry_after_ms.map(|number| (RETRY_AFTER_MS, number.to_string()));
        reply.extra = seconds.into_iter().chain(milliseconds).collect();
    }
    reply
}

//! Which operation and deployment a method and an address name, on both path styles.
use http::{Method, Uri};

use super::fault::Operation;

/// Dated API versions that exist for chat and embeddings: GA, then previews.
const DATED_VERSIONS: [&str; 11] = [
    "2023-05-15",
    "2024-02-01",
    "2024-06-01",
    "2024-10-21",
    "2024-08-01-preview",
    "2024-09-01-preview",
    "2024-10-01-preview",
    "2024-12-01-preview",
    "2025-01-01-preview",
    "2025-03-01-preview",
    "2025-04-01-preview",
];

/// Where a request goes.
pub(super) struct Target {
    pub(super) operation: Operation,
    /// Named in the path; on v1 the body names it.
    pub(super) deployment: Option<String>,
    pub(super) is_v1: bool,
}

/// What a method, path and `api-version` name; `None`: nothing that exists.
pub(super) fn target(method: &Method, uri: &Uri) -> Option<Target> {
    if uri.path() == "/status-0123456789abcdef" && method == Method::GET {
        return Some(Target { operation: Operation::Status, deployment: None, is_v1: false });
    }
    let path = uri.path().strip_prefix("/openai/")?;
    let version = uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("api-version="));
    if let Some(path) = path.strip_prefix("v1/") {
        let operation = operation(method, path)?;
        let known = version.is_none_or(|version| matches!(version, "v1" | "preview"));
        return known.then_some(Target { operation, deployment: None, is_v1: true });
    }
    version.filter(|version| DATED_VERSIONS.contains(version))?;
    if path == "models" && method == Method::GET {
        return Some(Target { operation: Operation::Models, deployment: None, is_v1: false });
    }
    let (deployment, path) = path.strip_prefix("deployments/")?.split_once('/')?;
    let operation = operation(method, path).filter(|operation| *operation != Operation::Models)?;
    Some(Target { operation, deployment: Some(percent_decoded(deployment)?), is_v1: false })
}

fn operation(method: &Method, path: &str) -> Option<Operation> {
    match (method.as_str(), path) {
        ("POST", "chat/completions") => Some(Operation::Chat),
        ("POST", "embeddings") => Some(Operation::Embeddings),
        ("GET", "models") => Some(Operation::Models),
        _ => None,
    }
}

/// `None` for broken escapes or bytes that are not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let digits = tail.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

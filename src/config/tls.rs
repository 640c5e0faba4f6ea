//! The `tls` section: certificates, keys and authorities, as written and as checked.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{file::File, problem::Findings, secret::Secrets, value::SecretRef};
use crate::{
    clock::Clock,
    secret::Form,
    tls::{TlsSettings, check_authorities, check_identity},
};

/// TLS towards callers: 1.2 and 1.3, ALPN `h2`. Files are read again when they change.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    /// The service's certificate, followed by those between it and its authority, as PEM.
    certificate: SecretRef,
    /// Its private key, as PEM.
    key: SecretRef,
    /// Authorities whose client certificates are believed, as PEM. Default: clients are not asked for certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_ca: Option<SecretRef>,
}

impl Tls {
    /// Hides what references to secrets name.
    pub(super) fn redact(&mut self) {
        [&mut self.certificate, &mut self.key].into_iter().chain(&mut self.client_ca).for_each(SecretRef::redact);
    }
}

/// `None` where there is no TLS, or something of it was refused.
pub(super) fn check(file: &File, secrets: &Secrets<'_>, findings: &mut Findings<'_>) -> Option<TlsSettings> {
    let Some(entry) = &file.tls else {
        warn_of_plain_text(file, findings);
        return None;
    };
    let certificate = secrets.resolve("certificate", &entry.certificate, Form::Text, findings);
    let key = secrets.resolve("key", &entry.key, Form::Text, findings);
    let client_ca = match &entry.client_ca {
        None => None,
        Some(reference) => Some(secrets.resolve("client_ca", reference, Form::Text, findings)?),
    };
    if let (Some(client_ca), Some(reference)) = (&client_ca, &entry.client_ca) {
        if let Err(problem) = check_authorities(client_ca) {
            findings.refuse(reference.place, format!("client_ca: {problem}"));
        }
        if !file.callers.iter().any(|caller| caller.certificate.is_some()) {
            findings.warn(reference.place, "`client_ca` has no effect: no caller has a `certificate`");
        }
    }
    let (certificate, key) = (certificate?, key?);
    if let Err(problem) = check_identity(&certificate, &key, Clock::today()) {
        let (name, place) = match problem.is_of_key() {
            true => ("key", entry.key.place),
            false => ("certificate", entry.certificate.place),
        };
        findings.refuse(place, format!("{name}: {problem}"));
    }
    Some(TlsSettings { certificate, key, client_ca })
}

/// Something in between may encrypt, so it is no error.
fn warn_of_plain_text(file: &File, findings: &mut Findings<'_>) {
    if file.listen.peek().is_some_and(|address| !address.ip().is_loopback()) && !file.callers.is_empty() {
        findings.warn(file.listen.place, "without `tls`, tokens and prompts travel in plain text");
    }
}

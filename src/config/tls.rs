//! Checks certificates, keys and authorities.
use super::{file::File, problem::Findings, secret::Secrets};
use crate::{
    clock::Clock,
    secret::Form,
    tls::{TlsSettings, check_authorities, check_identity},
};

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

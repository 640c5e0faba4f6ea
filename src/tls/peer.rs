//! What a connection tells of the caller at its other end.
use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rustls::{CertificateError, Error, pki_types::CertificateDer};
use tracing::debug;
use webpki::EndEntityCert;

use super::{authorities::Authorities, unix};

/// How long a verdict on a certificate holds: checking signatures for every call would cost more than the call does.
const VERDICT_HOLDS: Duration = Duration::from_secs(60);

/// The other end of a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Where it is.
    pub address: Option<SocketAddr>,
    /// What it showed in the handshake; not judged yet.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// A name by which a certificate calls its owner (subject alternative name, RFC 5280, 4.2.1.6). Compared whole:
/// wildcards mean nothing here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectName {
    /// A DNS name, in lower case.
    Dns(String),
    /// A URI, such as `spiffe://contoso.com/ingest`.
    Uri(String),
}

impl SubjectName {
    /// As the configuration writes them: URIs have a scheme, everything else is a DNS name. `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains("://") {
            let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
            return plain.then(|| Self::Uri(text.to_owned()));
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        (text.len() <= 253 && text.split('.').all(label)).then(|| Self::Dns(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Dns(name) | Self::Uri(name)) = self;
        f.write_str(name)
    }
}

/// Why a certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateProblem {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// No authority that is believed here has signed it.
    UnknownAuthority,
    /// It is broken, or not made for clients.
    Unusable,
}

impl CertificateProblem {
    /// One word, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownAuthority => "unknown_authority",
            Self::Unusable => "unusable",
        }
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "has expired",
            Self::NotYetValid => "is not valid yet",
            Self::UnknownAuthority => "was not issued by an authority that is believed here",
            Self::Unusable => "is broken or not made for clients",
        })
    }
}

/// A certificate whose key the caller has. Says nothing until it is asked, since authorities change and time passes
/// while a connection lives.
#[derive(Debug)]
pub struct PeerCertificate {
    chain: Vec<CertificateDer<'static>>,
    names: Vec<SubjectName>,
    authorities: Arc<Authorities>,
    /// Locked to look and to note, and while the chain is checked: never across an await.
    verdict: Mutex<Option<Verdict>>,
}

#[derive(Clone, Copy, Debug)]
struct Verdict {
    generation: u64,
    at: SystemTime,
    found: Result<(), CertificateProblem>,
}

impl PeerCertificate {
    pub(super) fn new(chain: &[CertificateDer<'_>], authorities: Arc<Authorities>) -> Self {
        let chain: Vec<_> = chain.iter().map(|one| one.clone().into_owned()).collect();
        let names = chain.first().map(names).unwrap_or_default();
        Self { chain, names, authorities, verdict: Mutex::new(None) }
    }

    /// The names that the certificate proves; may be none.
    ///
    /// # Errors
    /// When the certificate is not, or no longer, to be believed. Noticed at once when the authorities change, within a
    /// minute when time runs out.
    pub fn names(&self, now: SystemTime) -> Result<&[SubjectName], CertificateProblem> {
        let generation = self.authorities.generation();
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |verdict: &Verdict| {
            // An error means that the clock was set back, so that nothing is known.
            let age = now.duration_since(verdict.at);
            verdict.generation == generation && age.is_ok_and(|age| age < VERDICT_HOLDS)
        };
        let known = verdict.filter(holds).unwrap_or_else(|| {
            let found = self.authorities.verify(&self.chain, unix(now)).map_err(|error| problem(&error));
            Verdict { generation, at: now, found }
        });
        *verdict = Some(known);
        known.found.map(|()| &*self.names)
    }
}

fn names(leaf: &CertificateDer<'_>) -> Vec<SubjectName> {
    let Ok(leaf) = EndEntityCert::try_from(leaf) else { return vec![] };
    let dns = leaf.valid_dns_names().map(|name| SubjectName::Dns(name.to_ascii_lowercase()));
    let uris = leaf.valid_uri_names().map(|name| SubjectName::Uri(name.to_owned()));
    dns.chain(uris).collect()
}

fn problem(error: &Error) -> CertificateProblem {
    debug!(%error, "a client certificate is not believed");
    match error {
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            CertificateProblem::Expired
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            CertificateProblem::NotYetValid
        }
        // Another authority of the same name gives a wrong signature instead.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            CertificateProblem::UnknownAuthority
        }
        _ => CertificateProblem::Unusable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_names_or_uris() {
        let dns = |name: &str| Some(SubjectName::Dns(name.to_owned()));
        for (text, expected) in [
            ("Ingest.contoso.COM", dns("ingest.contoso.com")),
            ("ingest", dns("ingest")),
            ("spiffe://contoso.com/Ingest", Some(SubjectName::Uri("spiffe://contoso.com/Ingest".to_owned()))),
            ("*.contoso.com", None),
            ("a..b", None),
            ("", None),
            ("a b", None),
            ("spiffe://a b", None),
            (&"a".repeat(64), None),
        ] {
            assert_eq!(SubjectName::parse(text), expected, "{text:?}");
        }
    }
}

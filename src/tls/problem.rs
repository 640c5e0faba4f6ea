//! Why certificates, keys or authorities cannot be used.
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use thiserror::Error;

use crate::secret::SecretError;

/// Why certificates, keys or authorities cannot be used.
#[derive(Debug, Error)]
pub enum TlsProblem {
    /// The file cannot be read again.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is no certificate in it, or it is broken.
    #[error("there is no PEM certificate in it (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    /// There is no private key in it, or one of a kind that is not known.
    #[error("there is no PEM private key in it that can be used (RSA, ECDSA or Ed25519; PKCS#8, PKCS#1 or SEC1)")]
    NoKey,
    /// The key is another certificate's.
    #[error("certificate and key do not belong together")]
    Mismatch,
    /// Its time is over.
    #[error("the certificate expired at {}", at(*.0))]
    Expired(UnixTime),
    /// Its time has not come.
    #[error("the certificate is not valid before {}", at(*.0))]
    NotYetValid(UnixTime),
    /// Something that rustls does not take.
    #[error("TLS cannot use it: {0}")]
    Unusable(#[source] rustls::Error),
}

impl TlsProblem {
    /// It is the key that is to blame, not the certificate.
    pub fn is_of_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::Mismatch)
    }
}

fn at(time: UnixTime) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}

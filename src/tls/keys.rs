//! The server's certificate and key, replaced together.
use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use webpki::{EndEntityCert, KeyUsage};

use super::problem::TlsProblem;
use crate::secret::Secret;

/// What handshakes show. The lock is held for a clone, or to put a pair in that is ready.
#[derive(Debug)]
pub(super) struct Keys(RwLock<Pair>);

#[derive(Debug)]
struct Pair {
    certificate: Secret,
    key: Secret,
    ready: Arc<CertifiedKey>,
}

impl Keys {
    pub(super) fn new(certificate: Secret, key: Secret, now: UnixTime) -> Result<Self, TlsProblem> {
        let ready = Arc::new(certified_key(certificate.expose(), key.expose(), now)?);
        Ok(Self(RwLock::new(Pair { certificate, key, ready })))
    }

    /// Whether the files hold another pair now, which is then used. Files are written one after the other: until both
    /// are there they do not match, and the old pair stays.
    pub(super) fn rotate(&self, now: UnixTime) -> Result<bool, TlsProblem> {
        let (certificate, key) = {
            let pair = self.0.read().unwrap_or_else(PoisonError::into_inner);
            (pair.certificate.clone(), pair.key.clone())
        };
        let (new_certificate, new_key) = (certificate.read_again()?, key.read_again()?);
        if new_certificate.same(&certificate) && new_key.same(&key) {
            return Ok(false);
        }
        let ready = Arc::new(certified_key(new_certificate.expose(), new_key.expose(), now)?);
        let pair = Pair { certificate: new_certificate, key: new_key, ready };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = pair;
        Ok(true)
    }
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).ready))
    }
}

/// A certificate chain and its key that belong together and may be used now.
pub(super) fn certified_key(certificate: &str, key: &str, now: UnixTime) -> Result<CertifiedKey, TlsProblem> {
    let chain = certificates(certificate)?;
    let leaf = chain.first().ok_or(TlsProblem::NoCertificate)?;
    check_time(leaf, now)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsProblem::NoKey)?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| TlsProblem::NoKey)?;
    let ready = CertifiedKey::new(chain, key);
    ready.keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsProblem::Mismatch,
        other => TlsProblem::Unusable(other),
    })?;
    Ok(ready)
}

/// Every certificate in a PEM text, at least one.
pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsProblem::NoCertificate),
    }
}

/// webpki tells a certificate's time only by refusing it, and looks at it before it looks for an authority.
fn check_time(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), TlsProblem> {
    let leaf = EndEntityCert::try_from(leaf).map_err(|_| TlsProblem::NoCertificate)?;
    match leaf.verify_for_usage(&[], &[], &[], now, KeyUsage::server_auth(), None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Err(TlsProblem::Expired(not_after)),
        Err(webpki::Error::CertNotValidYet { not_before, .. }) => Err(TlsProblem::NotYetValid(not_before)),
        _ => Ok(()),
    }
}

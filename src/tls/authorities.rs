//! Whose client certificates are believed, and what a handshake asks of a client.
use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{keys::certificates, problem::TlsProblem};
use crate::secret::Secret;

/// The authorities, replaced as a whole. The lock is held for a clone, or to put in what is ready.
#[derive(Debug)]
pub(super) struct Authorities(RwLock<Current>);

#[derive(Debug)]
struct Current {
    secret: Secret,
    verifier: Arc<dyn ClientCertVerifier>,
    generation: u64,
}

impl Authorities {
    pub(super) fn new(secret: Secret) -> Result<Self, TlsProblem> {
        let verifier = verifier(secret.expose())?;
        Ok(Self(RwLock::new(Current { secret, verifier, generation: 0 })))
    }

    /// Whether the file holds others now, which are then used.
    pub(super) fn rotate(&self) -> Result<bool, TlsProblem> {
        let (secret, generation) = {
            let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
            (current.secret.clone(), current.generation)
        };
        let new = secret.read_again()?;
        if new.same(&secret) {
            return Ok(false);
        }
        let verifier = verifier(new.expose())?;
        let current = Current { secret: new, verifier, generation: generation + 1 };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(true)
    }

    /// Changes whenever the authorities do.
    pub(super) fn generation(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).generation
    }

    /// Whether a chain leads to one of them, and is good for a client now.
    pub(super) fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let verifier = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).verifier);
        let (leaf, rest) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        verifier.verify_client_cert(leaf, rest, now).map(drop)
    }
}

/// Believes certificates of these authorities.
pub(super) fn verifier(pem: &str) -> Result<Arc<dyn ClientCertVerifier>, TlsProblem> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(pem)? {
        roots.add(authority).map_err(TlsProblem::Unusable)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| TlsProblem::Unusable(Error::General(error.to_string())))
}

/// Asks every client for a certificate, takes whatever it shows, and has it prove that it owns the key. Whoever uses
/// the connection must then ask [`Authorities::verify`]: see [`super::PeerCertificate`].
#[derive(Debug)]
pub(super) struct Asking(WebPkiSupportedAlgorithms);

impl Default for Asking {
    fn default() -> Self {
        Self(rustls::crypto::ring::default_provider().signature_verification_algorithms)
    }
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: strangers need not know whom we believe.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

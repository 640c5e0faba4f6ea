//! TLS towards callers: the server's certificate, the authorities of client certificates, and what a caller's
//! certificate says. Everything can be replaced while calls run.
//!
//! Only TLS 1.2 and 1.3 with ALPN `h2`, by rustls over ring. A client certificate is asked for where authorities are
//! configured, and its owner must prove that it has the key. Whether the certificate is good is judged for each call
//! (`peer`), not in the handshake: there a refusal could only be a dropped connection, which says nothing to the
//! caller's program, lets nothing be journalled, and shuts out health checks.
mod authorities;
mod keys;
mod peer;
mod problem;

use std::{sync::Arc, time::SystemTime};

use rustls::{
    ServerConfig,
    pki_types::UnixTime,
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};

use self::{
    authorities::{Asking, Authorities},
    keys::{Keys, certified_key},
};
pub use self::{
    peer::{CertificateProblem, Peer, PeerCertificate, SubjectName},
    problem::TlsProblem,
};
use crate::secret::{Rotation, Secret};

/// What the configuration says of TLS.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The server's certificate, and those between it and its authority, as PEM.
    pub certificate: Secret,
    /// Its private key, as PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: Secret,
    /// The authorities whose client certificates are believed, as PEM; `None`: clients are not asked for any.
    pub client_ca: Option<Secret>,
}

/// The server's side of TLS, as it is now.
#[derive(Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    keys: Arc<Keys>,
    authorities: Option<Arc<Authorities>>,
}

/// Checks a certificate and its key, without using them.
///
/// # Errors
/// When they cannot be read, do not belong together, or their time is over or has not come.
pub fn check_identity(certificate: &Secret, key: &Secret, now: SystemTime) -> Result<(), TlsProblem> {
    certified_key(certificate.expose(), key.expose(), unix(now)).map(drop)
}

/// Checks authorities, without using them.
///
/// # Errors
/// When there is none among them, or one cannot be read.
pub fn check_authorities(authorities: &Secret) -> Result<(), TlsProblem> {
    authorities::verifier(authorities.expose()).map(drop)
}

impl ServerTls {
    /// Ready for handshakes.
    ///
    /// # Errors
    /// When certificate, key or authorities cannot be used.
    pub fn new(settings: TlsSettings, now: SystemTime) -> Result<Self, TlsProblem> {
        let keys = Arc::new(Keys::new(settings.certificate, settings.key, unix(now))?);
        let authorities = settings.client_ca.map(Authorities::new).transpose()?.map(Arc::new);
        let versions = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsProblem::Unusable)?;
        let clients = match &authorities {
            Some(_) => Arc::new(Asking::default()),
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = versions.with_client_cert_verifier(clients).with_cert_resolver(Arc::clone(&keys) as Arc<_>);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { config: Arc::new(config), keys, authorities })
    }

    /// For handshakes; rotation needs no other one.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What a caller showed in its handshake, if anything.
    pub fn peer_certificate(&self, connection: &rustls::ServerConnection) -> Option<PeerCertificate> {
        let authorities = self.authorities.as_ref()?;
        Some(PeerCertificate::new(connection.peer_certificates()?, Arc::clone(authorities)))
    }

    /// Reads the files again and takes over what changed: new handshakes get the new certificate, and every call from
    /// then on is judged by the new authorities, on whatever connection. What cannot be used changes nothing. Blocks
    /// on files.
    pub fn rotate(&self, now: SystemTime) -> Rotation {
        let mut rotation = Rotation::default();
        rotation.add("the server certificate", self.keys.rotate(unix(now)));
        if let Some(authorities) = &self.authorities {
            rotation.add("the client authorities", authorities.rotate());
        }
        rotation
    }
}

fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

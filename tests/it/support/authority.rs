//! A certificate authority of a test's own. A process believes it when told so by `SSL_CERT_FILE`.
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};

use super::process::Folder;

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    _folder: Folder,
    /// Its own certificate.
    pub file: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let folder = Folder::new(&format!("{name}-authority"));
        let file = folder.write("authority.pem", &pem);
        Self { issuer: Issuer::new(params, key), _folder: folder, file }
    }

    /// How a server of this name speaks TLS; until the end of that year.
    pub fn server(&self, name: &str, valid_until: i32) -> Arc<ServerConfig> {
        rustls::crypto::ring::default_provider().install_default().ok();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(valid_until, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

//! How the verbs that call a service reach it: in plain text, or by TLS as grpc_health_probe spells its options.
use std::{fs, path::PathBuf};

use clap::Args;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// TLS, where it is wanted.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS to the service (also by `https://` in the address)")]
pub(super) struct TlsOptions {
    /// Trust these authorities (PEM) instead of the system's.
    #[arg(long, env = "SEALANE_TLS_CA_CERT", value_name = "FILE")]
    tls_ca_cert: Option<PathBuf>,
    /// Show this client certificate (PEM).
    #[arg(long, env = "SEALANE_TLS_CLIENT_CERT", requires = "tls_client_key", value_name = "FILE")]
    tls_client_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, env = "SEALANE_TLS_CLIENT_KEY", requires = "tls_client_cert", value_name = "FILE")]
    tls_client_key: Option<PathBuf>,
    /// Expect this name in the service's certificate instead of the address's.
    #[arg(long, env = "SEALANE_TLS_SERVER_NAME", value_name = "NAME")]
    tls_server_name: Option<String>,
}

impl TlsOptions {
    /// The service at an address (host, by default with port 50051, or a URI), or what is wrong with the arguments.
    pub(super) fn endpoint(&self, addr: &str) -> Result<Endpoint, String> {
        let Self { tls_ca_cert, tls_client_cert, tls_client_key, tls_server_name } = self;
        let stated = tls_ca_cert.is_some() || tls_client_cert.is_some() || tls_server_name.is_some();
        let scheme = if stated { "https" } else { "http" };
        let uri = match addr {
            addr if addr.contains("://") => addr.to_owned(),
            addr if addr.contains(':') => format!("{scheme}://{addr}"),
            host => format!("{scheme}://{host}:50051"),
        };
        let wrong = |error: &dyn std::fmt::Display| format!("--addr {addr}: {error}");
        let endpoint = Endpoint::from_shared(uri.clone()).map_err(|error| wrong(&error))?;
        if !uri.starts_with("https://") {
            return if stated { Err(wrong(&"is plain text, but TLS is asked for")) } else { Ok(endpoint) };
        }
        let mut tls = match tls_ca_cert {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("--tls-ca-cert", path)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let (Some(certificate), Some(key)) = (tls_client_cert, tls_client_key) {
            let certificate = read("--tls-client-cert", certificate)?;
            tls = tls.identity(Identity::from_pem(certificate, read("--tls-client-key", key)?));
        }
        if let Some(name) = tls_server_name {
            tls = tls.domain_name(name);
        }
        endpoint.tls_config(tls).map_err(|error| format!("TLS: {error}"))
    }
}

fn read(option: &str, path: &PathBuf) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{option} {}: {error}", path.display()))
}

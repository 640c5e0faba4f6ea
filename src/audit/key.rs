//! The keys that checkpoints are signed with: Ed25519, as PEM files that `openssl` reads and writes too.
use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64_simd::STANDARD;
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What stands before the 32 bytes of an Ed25519 key in a DER SubjectPublicKeyInfo (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What stands before the 32 secret bytes in PKCS#8, version 1: the form that every OpenSSL reads (RFC 8410).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{}: no Ed25519 {what} key in PEM", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// `private` or `public`.
        what: &'static str,
    },
    /// The system gives no random bytes.
    #[error("no random bytes to be had from the operating system")]
    Chance,
}

/// Signs checkpoints.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads a PKCS#8 PEM file such as `openssl genpkey -algorithm ed25519` writes. Where there is none, makes a key
    /// and writes it (mode 0600), and beside it the public key with `.pub` added to the name.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        match fs::read(path) {
            Ok(pem) => Self::from_pem(&pem).ok_or(KeyError::Unusable { path: path.to_owned(), what: "private" }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut seed = [0; 32];
                SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::Chance)?;
                let key = Self::from_seed(&seed).ok_or(KeyError::Chance)?;
                write_new(path, &pem("PRIVATE KEY", &[&PKCS8_PREFIX[..], &seed].concat()), 0o600).map_err(failed)?;
                let mut beside = path.as_os_str().to_owned();
                beside.push(".pub");
                write_new(Path::new(&beside), &key.public().to_pem(), 0o644).map_err(failed)?;
                Ok(key)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// A key from 32 bytes that only its owner may know.
    pub fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(Self)
    }

    fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).ok().map(Self)
    }

    /// The key that checks its signatures.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(self.0.public_key().as_ref()).for_each(|(to, from)| *to = *from);
        PublicKey(bytes)
    }

    /// A signature in base64.
    pub(super) fn sign(&self, text: &str) -> String {
        STANDARD.encode_to_string(self.0.sign(text.as_bytes()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(for {})", self.public())
    }
}

/// Checks the signatures of checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a PEM file such as `openssl pkey -pubout` writes.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let pem = fs::read(path).map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&pem).ok();
        let key = der.as_ref().and_then(|der| der.strip_prefix(&SPKI_PREFIX[..])).and_then(|key| key.try_into().ok());
        key.map(Self).ok_or(KeyError::Unusable { path: path.to_owned(), what: "public" })
    }

    /// As a PEM file.
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[&SPKI_PREFIX[..], &self.0].concat())
    }

    /// Whether `signature`, in base64, is this key's over `text`.
    pub(super) fn accepts(&self, text: &str, signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode_to_vec(signature) else { return false };
        UnparsedPublicKey::new(&ED25519, &self.0).verify(text.as_bytes(), &signature).is_ok()
    }
}

/// In base64.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode_to_string(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode_to_vec(&text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| de::Error::custom("no Ed25519 key in base64"))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    // Both kinds fit one line of RFC 7468's 64 letters.
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode_to_string(der))
}

fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let folder = std::env::temp_dir().join(format!("sealane-key-{}", std::process::id()));
        let path = folder.join("journal.pem");
        let made = SigningKey::load_or_create(&path).unwrap();
        let read = SigningKey::load_or_create(&path).unwrap();
        let public = PublicKey::load(&folder.join("journal.pem.pub")).unwrap();
        assert_eq!((made.public(), read.public()), (public, public));
        assert!(public.accepts("text", &read.sign("text")));
        assert!(!public.accepts("other", &read.sign("text")));
        assert!(!public.accepts("text", "no base64!"));
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777;
        assert_eq!(mode, 0o600);
        assert!(matches!(PublicKey::load(&path), Err(KeyError::Unusable { what: "public", .. })));
        fs::remove_dir_all(folder).unwrap();
    }

    /// The example key of RFC 8410, 10.3 and 10.1.
    #[test]
    fn keys_of_other_tools_are_read() {
        let private =
            b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let key = SigningKey::from_pem(private).unwrap();
        assert_eq!(key.public().to_string(), "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=");
        assert!(!format!("{key:?}").contains("1O5y"), "a private key shows itself");
    }
}

//! What ties a record to a request without holding any of it: a MAC that only holders of the key can compute.
//!
//! A bare hash would not do: whoever has the journal could guess short prompts and compare. Destroying the key unlinks
//! every record from its request.
use std::fmt;

use ring::hmac;

use super::label::Label;

/// Keys the MACs of requests, with a key of its own for each caller.
#[derive(Clone)]
pub struct RequestKey(hmac::Key);

impl RequestKey {
    /// Shortest secret, in bytes: half of what `openssl rand -hex 32` prints.
    pub const MIN_BYTES: usize = 32;

    /// From a secret; `None` if it is shorter than [`MIN_BYTES`](Self::MIN_BYTES).
    pub fn new(secret: &[u8]) -> Option<Self> {
        (secret.len() >= Self::MIN_BYTES).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// HMAC-SHA-256 of a request of this caller, in hexadecimal digits. `canonical` is the request's protobuf message
    /// with its fields in the order of their numbers, the entries of maps sorted by key, and nothing unknown: what
    /// every protobuf library calls deterministic serialization.
    ///
    /// Its key is HMAC-SHA-256 of `sealane audit request key v1`, a line break and the caller's name, under the secret:
    /// a caller can be given its own without learning anybody else's.
    pub fn mac(&self, caller: &str, canonical: &[u8]) -> Label {
        let name = format!("sealane audit request key v1\n{caller}");
        let of_caller = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&self.0, name.as_bytes()).as_ref());
        let mac = hmac::sign(&of_caller, canonical);
        mac.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestKey")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Computed with `openssl dgst -sha256 -mac HMAC`, as docs/audit.md shows.
    #[test]
    fn it_is_what_other_tools_compute() {
        let key = RequestKey::new(&[b'k'; 32]).unwrap();
        let expected = "76b427c6153c73e4332d743d12e854ba7d2e5e5574707737fff60ab575c68eb6";
        assert_eq!(key.mac("kb", b"request").as_str(), expected);
        assert_ne!(key.mac("other", b"request").as_str(), expected, "each caller has a key of its own");
        assert!(RequestKey::new(&[b'k'; 31]).is_none());
        assert!(!format!("{key:?}").contains("kkk"));
    }
}

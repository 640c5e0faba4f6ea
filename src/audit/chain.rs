//! The hash chain: every record's line begins with a hash over the record and the hash before it.
//!
//! A line is `HASH JSON\n`: 64 lower-case hexadecimal digits, one blank, the record as JSON without a line break.
//! `HASH = SHA-256(0x00 || hash of the record before || length of JSON as 8 bytes, big-endian || JSON)`; before the
//! first record stand 32 zero bytes. The leading 0x00 is RFC 6962's prefix of a leaf.
use std::fmt;

use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const LEAF: [u8; 1] = [0];
const HEX: &[u8; 16] = b"0123456789abcdef";
/// Digits of a hash in hexadecimal.
const DIGITS: usize = 64;

/// A SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What stands before the first record of a journal.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash of a record that follows one with the hash `self`.
    pub fn next(&self, json: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&LEAF);
        context.update(&self.0);
        context.update(&(json.len() as u64).to_be_bytes());
        context.update(json);
        Self::from_digest(context.finish().as_ref())
    }

    /// Plain SHA-256, outside the chain.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(digest(&SHA256, bytes).as_ref())
    }

    fn from_digest(digest: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
        Self(hash)
    }

    /// Reads 64 lower-case digits. Upper case is refused: a line has one spelling only.
    pub fn parse(hex: &[u8]) -> Option<Self> {
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        if hex.len() != DIGITS {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = value(*high)? << 4 | value(*low)?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(deserializer)?;
        Self::parse(hex.as_bytes()).ok_or_else(|| de::Error::custom("no SHA-256 hash in lower-case hexadecimal"))
    }
}

/// Bytes of a line before the record's JSON.
pub(super) const LINE_PREFIX: usize = DIGITS + 1;

/// Appends a record's line to `lines`, and gives its hash.
pub(super) fn append_line(lines: &mut Vec<u8>, before: &Hash, json: &[u8]) -> Hash {
    let hash = before.next(json);
    for byte in hash.0 {
        lines.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    lines.push(b' ');
    lines.extend_from_slice(json);
    lines.push(b'\n');
    hash
}

/// Takes a line, without its line break, apart. `None`: this is no line of a journal.
pub(super) fn split_line(line: &[u8]) -> Option<(Hash, &[u8])> {
    let (hex, rest) = line.split_at_checked(DIGITS)?;
    Some((Hash::parse(hex)?, rest.strip_prefix(b" ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_documented_one() {
        // printf '\0' + 32 zero bytes + 00 00 00 00 00 00 00 02 + '{}' | sha256sum
        let mut bytes = vec![0; 33];
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 2]);
        bytes.extend(b"{}");
        assert_eq!(Hash::GENESIS.next(b"{}"), Hash::of(&bytes));
        // FIPS 180-2, B.1.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of(b"abc").to_string(), known);
    }

    #[test]
    fn a_line_has_one_spelling() {
        let mut line = Vec::new();
        let hash = append_line(&mut line, &Hash::GENESIS, b"{\"a\":1}");
        let line = line.strip_suffix(b"\n").unwrap_or_default();
        assert_eq!(split_line(line), Some((hash, &b"{\"a\":1}"[..])));
        assert_eq!(split_line(&line.to_ascii_uppercase()), None);
        assert_eq!(split_line(&line[..40]), None);
        assert_eq!(split_line(b""), None);
    }
}

//! Bearer tokens.
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

/// A token's SHA-256. The token itself is not kept, and since all digests are equally long, comparing them tells
/// nothing about lengths either.
#[derive(Clone, Copy)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token).as_ref());
        Self(bytes)
    }

    /// Whether both are of the same token, in a time that does not depend on the answer.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest(***)")
    }
}

/// The owner of a token among all there are. Every one is compared, so that the time taken tells nothing.
pub(super) fn owner_of<'a, T>(known: &'a [(TokenDigest, T)], token: &[u8]) -> Option<&'a T> {
    let asked = TokenDigest::of(token);
    known.iter().fold(None, |found, (digest, owner)| if digest.same(&asked) { Some(owner) } else { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_has_an_owner() {
        let known = [(TokenDigest::of(b"alpha"), 1), (TokenDigest::of(b"beta"), 2), (TokenDigest::of(b"gamma"), 3)];
        for (token, expected) in
            [("alpha", Some(1)), ("beta", Some(2)), ("gamma", Some(3)), ("alph", None), ("alphaa", None), ("", None)]
        {
            assert_eq!(owner_of(&known, token.as_bytes()).copied(), expected, "{token:?}");
        }
        assert!(!format!("{known:?}").contains(|c: char| c.is_ascii_digit() && !"123".contains(c)));
    }
}

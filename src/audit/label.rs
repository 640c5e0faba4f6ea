//! Names and ids in records: short, whatever a peer sent.
use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name or an id: at most 256 bytes of UTF-8; what is longer is cut, and ends in `…`. Never content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

impl Label {
    /// Longest label, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn cut(text: &str) -> Self {
        let mark = '…';
        let room = Self::MAX_BYTES - mark.len_utf8();
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        Self(format!("{}{mark}", text.get(..end).unwrap_or_default()).into())
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        if text.len() <= Self::MAX_BYTES { Self(text.into()) } else { Self::cut(text) }
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&Arc<str>> for Label {
    fn from(text: &Arc<str>) -> Self {
        if text.len() <= Self::MAX_BYTES { Self(Arc::clone(text)) } else { Self::cut(text) }
    }
}

impl Default for Label {
    fn default() -> Self {
        Self::from("")
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_are_cut_between_characters() {
        for text in ["a".repeat(257), "ö".repeat(200), "😀".repeat(4000)] {
            let label = Label::from(text.as_str());
            assert!(label.as_str().len() <= Label::MAX_BYTES, "{label}");
            assert!(label.as_str().ends_with('…'), "{label}");
        }
        assert_eq!(Label::from("a".repeat(256)).as_str().len(), 256);
    }
}

//! Which vectors may be compared with each other, and how it shows that some may not.
use std::{fmt, sync::Arc};

use super::Vector;

/// What every embedding target embeds in its test calls, always the same: vectors of one text tell whether two targets
/// embed alike. It carries no caller's data, and its vector is no secret. Another text would make every stored
/// reference vector useless.
pub const REFERENCE_TEXT: &str = "A lamp at the harbour mouth guides ships through the narrow lane at night.";

/// Vectors of one text by one model differ between deployments in their last digits only; those of two models, even of
/// one family, are far from each other (docs/embeddings.md).
pub const LEAST_COSINE: f64 = 0.999;

/// Azure's and OpenAI's own embedding models are named so; other servers call theirs what they like.
const AZURE_FAMILY: &str = "text-embedding-";

/// Characters of a model's stated name that are kept: the name comes from outside.
const LONGEST_NAME: usize = 64;

/// Vectors may be compared if model, version and length are the same. Mixed in one index they corrupt it silently.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmbeddingSpace {
    /// The underlying model, such as `text-embedding-3-large`.
    pub model: Arc<str>,
    /// Its version as Azure writes it; `None` if nobody has stated one.
    pub version: Option<Arc<str>>,
    /// Numbers in a vector, unless a request asks for fewer.
    pub dimensions: u32,
    /// The model's own vectors are longer, so that Azure has to be asked for these.
    pub shortened: bool,
}

impl EmbeddingSpace {
    /// Readable and the same for ever, so that an index can keep it: `text-embedding-3-large/1/3072`; without a version
    /// `minilm/384`. `dimensions` are those of the vectors at hand, which a request may have asked for.
    pub fn id(&self, dimensions: usize) -> String {
        match &self.version {
            Some(version) => format!("{}/{version}/{dimensions}", self.model),
            None => format!("{}/{dimensions}", self.model),
        }
    }

    /// What a reply's length and stated model say against it. `length` is `None` where the request asked for one of its
    /// own. Names are compared among Azure's own models only, and loosely: `text-embedding-ada-002-v2` is no other than
    /// `text-embedding-ada-002`, and what `ada` or a path means is anybody's guess.
    ///
    /// # Errors
    /// With what differs.
    pub fn check(&self, length: Option<usize>, stated: &str) -> Result<(), Drift> {
        let ours = self.model.to_ascii_lowercase();
        let theirs = stated.to_ascii_lowercase();
        let named = ours.starts_with(AZURE_FAMILY) && theirs.starts_with(AZURE_FAMILY);
        if named && !ours.starts_with(&theirs) && !theirs.starts_with(&ours) {
            let stated = stated.chars().take(LONGEST_NAME).collect::<String>().into();
            return Err(Drift::Model { expected: Arc::clone(&self.model), stated });
        }
        let expected = self.dimensions;
        match length.map(|length| u32::try_from(length).unwrap_or(u32::MAX)) {
            Some(found) if found != expected => Err(Drift::Length { expected, found }),
            _ => Ok(()),
        }
    }
}

/// With its configured length.
impl fmt::Display for EmbeddingSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id(self.dimensions as usize))
    }
}

/// How it showed that a target's vectors are not those of its space.
#[derive(Clone, Debug, PartialEq)]
pub enum Drift {
    /// Its vectors have another length.
    Length {
        /// Of the space.
        expected: u32,
        /// What came.
        found: u32,
    },
    /// Its replies name another model.
    Model {
        /// Of the space.
        expected: Arc<str>,
        /// Verbatim, at most 64 characters.
        stated: Arc<str>,
    },
    /// It embeds [`REFERENCE_TEXT`] otherwise than the space's reference.
    Direction {
        /// Between the two vectors; 1 would be the same direction.
        cosine: f64,
    },
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => write!(f, "its vectors have {found} numbers, not {expected}"),
            Self::Model { expected, stated } => write!(f, "its replies name the model {stated:?}, not {expected}"),
            Self::Direction { cosine } => write!(
                f,
                "cosine {cosine:.4} between its vector and the reference of its embedding space, at least {LEAST_COSINE} \
                 is the same"
            ),
        }
    }
}

impl Vector {
    /// Cosine of the angle between two vectors, -1 to 1; 0 where there is none: other lengths, a vector without
    /// direction, or one that holds what is no number.
    pub fn cosine(&self, other: &Self) -> f64 {
        if self.dimensions() != other.dimensions() {
            return 0.0;
        }
        let (mut product, mut ours, mut theirs) = (0.0, 0.0, 0.0);
        for (a, b) in self.components().map(f64::from).zip(other.components().map(f64::from)) {
            product += a * b;
            ours += a * a;
            theirs += b * b;
        }
        let cosine = product / (ours.sqrt() * theirs.sqrt());
        if cosine.is_finite() { cosine } else { 0.0 }
    }

    /// Whether one model may have made both of the same text.
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.cosine(other) >= LEAST_COSINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(model: &str, version: Option<&str>, dimensions: u32) -> EmbeddingSpace {
        EmbeddingSpace { model: model.into(), version: version.map(Into::into), dimensions, shortened: false }
    }

    #[test]
    fn a_space_is_named_by_model_version_and_length() {
        let large = space("text-embedding-3-large", Some("1"), 3072);
        assert_eq!(large.to_string(), "text-embedding-3-large/1/3072");
        assert_eq!(large.id(256), "text-embedding-3-large/1/256");
        assert_eq!(space("minilm", None, 384).to_string(), "minilm/384");
    }

    #[test]
    fn a_reply_is_held_against_its_space() {
        let large = "text-embedding-3-large";
        let length = |found| Err(Drift::Length { expected: 3072, found });
        let model = |stated: &str| Err(Drift::Model { expected: large.into(), stated: stated.into() });
        for (ours, found, stated, expected) in [
            (large, Some(3072), large, Ok(())),
            (large, Some(3072), "Text-Embedding-3-Large", Ok(())),
            (large, Some(3072), "text-embedding-3-large-v2", Ok(())),
            ("text-embedding-3-large-v2", Some(3072), large, Ok(())),
            (large, Some(3072), "", Ok(())),
            (large, Some(3072), "ada", Ok(())),
            (large, Some(3072), "/models/weights.gguf", Ok(())),
            (large, Some(3072), "text-embedding-3-small", model("text-embedding-3-small")),
            (large, Some(1536), "text-embedding-3-small", model("text-embedding-3-small")),
            (large, Some(1536), large, length(1536)),
            (large, Some(usize::MAX), large, length(u32::MAX)),
            (large, None, large, Ok(())),
            (large, None, "text-embedding-3-small", model("text-embedding-3-small")),
            ("minilm", Some(3072), "text-embedding-3-small", Ok(())),
        ] {
            assert_eq!(space(ours, None, 3072).check(found, stated), expected, "{ours} {found:?} {stated}");
        }
        let long = format!("text-embedding-{}", "x".repeat(100));
        let told = space(large, None, 1).check(Some(1), &long);
        assert!(matches!(told, Err(Drift::Model { stated, .. }) if stated.len() == 64));
    }

    #[test]
    fn drift_is_told_in_numbers() {
        for (drift, told) in [
            (Drift::Length { expected: 3072, found: 1536 }, "its vectors have 1536 numbers, not 3072"),
            (Drift::Model { expected: "a".into(), stated: "b\n".into() }, "its replies name the model \"b\\n\", not a"),
            (
                Drift::Direction { cosine: 0.123_46 },
                "cosine 0.1235 between its vector and the reference of its embedding space, at least 0.999 is the same",
            ),
        ] {
            assert_eq!(drift.to_string(), told);
        }
    }

    #[test]
    fn the_cosine_tells_directions_apart() {
        let vector = |components: &[f32]| Vector::from_components(components.iter().copied());
        for (a, b, cosine, agree) in [
            (&[1.0, 0.0][..], &[2.0, 0.0][..], 1.0, true),
            (&[1.0, 0.0], &[0.0, 3.0], 0.0, false),
            (&[1.0, 0.0], &[-1.0, 0.0], -1.0, false),
            (&[3.0, 4.0], &[4.0, 3.0], 0.96, false),
            (&[1.0, 0.0], &[1.0, 0.044], 0.999_033, true),
            (&[1.0, 0.0], &[1.0, 0.046], 0.998_943, false),
            (&[1.0, 0.0], &[1.0, 0.0, 0.0], 0.0, false),
            (&[0.0, 0.0], &[1.0, 0.0], 0.0, false),
            (&[f32::NAN, 0.0], &[1.0, 0.0], 0.0, false),
            (&[f32::INFINITY, 0.0], &[1.0, 0.0], 0.0, false),
        ] {
            let (a, b) = (vector(a), vector(b));
            assert!((a.cosine(&b) - cosine).abs() < 1e-5, "{a:?} {b:?}: {}", a.cosine(&b));
            assert_eq!((a.agrees_with(&b), b.agrees_with(&a)), (agree, agree), "{a:?} {b:?}");
        }
    }
}

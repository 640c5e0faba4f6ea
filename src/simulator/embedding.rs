//! Embeddings: validation, and vectors that depend on nothing but text, model and dimensions.
use base64_simd::STANDARD;
use serde_json::Value;

use super::chance::{Fingerprint, STEP, mix};
use super::refusal::{ErrorReply, invalid};
use super::settings::DeploymentSettings;
use super::validate::{Object, estimated_tokens, given, integer, missing, text, too_long, wrong_type, wrong_value};

const MOST_INPUTS: usize = 2048;
const MOST_TOKENS_AN_INPUT: u64 = 8192;
const MOST_TOKENS_A_REQUEST: u64 = 300_000;
const KNOWN: [&str; 6] = ["dimensions", "encoding_format", "input", "input_type", "model", "user"];

/// An embeddings request that passed validation.
#[derive(Debug)]
pub(super) struct EmbeddingRequest<'a> {
    inputs: Vec<Input<'a>>,
    dimensions: usize,
    base64: bool,
    prompt_tokens: u64,
}

#[derive(Debug)]
enum Input<'a> {
    Text(&'a str),
    Tokens(&'a [Value]),
}

impl Input<'_> {
    fn tokens(&self) -> u64 {
        match self {
            Self::Text(text) => estimated_tokens(text.chars().count()),
            Self::Tokens(tokens) => tokens.len() as u64,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Tokens(tokens) => tokens.is_empty(),
        }
    }

    fn add_to(&self, hash: Fingerprint) -> u64 {
        match self {
            Self::Text(text) => hash.add(text.as_bytes()).finish(),
            Self::Tokens(tokens) => {
                tokens.iter().fold(hash, |hash, token| hash.add(&token.as_u64().unwrap_or(0).to_le_bytes())).finish()
            }
        }
    }
}

/// Azure's estimate at arrival, which the token limit charges.
pub(super) fn charge(object: &Object) -> u64 {
    object
        .get("input")
        .and_then(|input| read_inputs(input).ok())
        .map_or(0, |inputs| inputs.iter().map(Input::tokens).sum())
}

/// `input` in any of its four forms: text, texts, tokens, lists of tokens.
fn read_inputs(input: &Value) -> Result<Vec<Input<'_>>, ErrorReply> {
    match input {
        Value::String(text) => Ok(vec![Input::Text(text)]),
        Value::Array(items) if items.first().is_some_and(Value::is_number) => Ok(vec![Input::Tokens(items)]),
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(Input::Text(text)),
                Value::Array(tokens) => Ok(Input::Tokens(tokens)),
                other => Err(wrong_type("input", "a string or an array of tokens", other)),
            })
            .collect(),
        other => Err(wrong_type("input", "one of a string, array of strings or array of tokens", other)),
    }
}

impl<'a> EmbeddingRequest<'a> {
    /// Checks `object` for `deployment`.
    pub(super) fn read(object: &'a Object, deployment: &DeploymentSettings) -> Result<Self, ErrorReply> {
        if let Some(name) = object.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(invalid(format!("Unrecognized request argument supplied: {name}"), None, None));
        }
        let inputs = read_inputs(given(object, "input").ok_or_else(|| missing("input"))?)?;
        if inputs.is_empty() || inputs.iter().any(Input::is_empty) {
            return Err(invalid(
                "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
                None,
                None,
            ));
        }
        if inputs.len() > MOST_INPUTS {
            return Err(too_long("input", MOST_INPUTS, inputs.len()));
        }
        if let Some(tokens) = inputs.iter().map(Input::tokens).find(|tokens| *tokens > MOST_TOKENS_AN_INPUT) {
            return Err(invalid(
                format!(
                    "This model's maximum context length is {MOST_TOKENS_AN_INPUT} tokens, however you requested {tokens} tokens ({tokens} in your prompt; 0 for the completion). Please reduce your prompt; or completion length."
                ),
                None,
                None,
            ));
        }
        let prompt_tokens: u64 = inputs.iter().map(Input::tokens).sum();
        if prompt_tokens > MOST_TOKENS_A_REQUEST {
            return Err(invalid(
                format!("Requested {prompt_tokens} tokens, max {MOST_TOKENS_A_REQUEST} tokens per request"),
                None,
                Some("max_tokens_per_request"),
            ));
        }
        let base64 = match text(object, "encoding_format")? {
            None | Some("float") => false,
            Some("base64") => true,
            Some(other) => return Err(wrong_value("encoding_format", other, &["float", "base64"])),
        };
        Ok(Self { inputs, dimensions: dimensions(object, deployment)?, base64, prompt_tokens })
    }

    /// Whether some text has this word in it.
    pub(super) fn contains(&self, word: &str) -> bool {
        self.inputs.iter().any(|input| matches!(input, Input::Text(text) if text.contains(word)))
    }

    /// The body of the answer.
    pub(super) fn answer(&self, served_model: &str, deployment: &DeploymentSettings) -> Vec<u8> {
        let vector_bytes = self.dimensions * if self.base64 { 6 } else { 12 };
        let mut body = Vec::with_capacity(256 + self.inputs.len() * (64 + vector_bytes));
        let mut packed = Vec::with_capacity(self.dimensions * 4);
        body.extend_from_slice(br#"{"object":"list","data":["#);
        for (index, input) in self.inputs.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            body.extend_from_slice(format!(r#"{comma}{{"object":"embedding","index":{index},"embedding":"#).as_bytes());
            let seed = input.add_to(Fingerprint::new().add(deployment.model.as_bytes()));
            let vector = unit_vector(seed, self.dimensions);
            if self.base64 {
                packed.clear();
                packed.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
                body.push(b'"');
                STANDARD.encode_append(&packed, &mut body);
                body.push(b'"');
            } else {
                // Writing numbers into a Vec cannot fail.
                let _ = serde_json::to_writer(&mut body, &vector);
            }
            body.push(b'}');
        }
        body.extend_from_slice(br#"],"model":"#);
        let _ = serde_json::to_writer(&mut body, served_model);
        let tokens = self.prompt_tokens;
        body.extend_from_slice(
            format!(r#","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#).as_bytes(),
        );
        body.push(b'\n');
        body
    }
}

fn dimensions(object: &Object, deployment: &DeploymentSettings) -> Result<usize, ErrorReply> {
    let full = deployment.dimensions as usize;
    let Some(wanted) = integer(object, "dimensions", 1, i64::MAX)? else { return Ok(full) };
    if !deployment.model.starts_with("text-embedding-3") {
        return Err(invalid("This model does not support specifying dimensions.", Some("dimensions"), None));
    }
    usize::try_from(wanted).ok().filter(|wanted| *wanted <= full).ok_or_else(|| {
        invalid(
            format!("Invalid value for 'dimensions' = {wanted}. Must be less than or equal to {full}."),
            Some("dimensions"),
            None,
        )
    })
}

/// A vector of Euclidean norm 1. A shorter one is the beginning of a longer one, scaled: as these models shorten.
fn unit_vector(seed: u64, dimensions: usize) -> Vec<f32> {
    let mut vector = Vec::with_capacity(dimensions + 1);
    let mut counter = seed;
    let centred = |bits: u32| (bits as i32) as f32 / 2_147_483_648.0;
    while vector.len() < dimensions {
        counter = counter.wrapping_add(STEP);
        let bits = mix(counter);
        vector.push(centred((bits >> 32) as u32));
        vector.push(centred(bits as u32));
    }
    vector.truncate(dimensions);
    let norm = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    // A zero vector is as good as impossible, yet dividing by its norm would make NaN.
    let scale = if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 };
    vector.iter_mut().for_each(|value| *value *= scale);
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_unit_norm_and_short_ones_begin_long_ones() {
        for dimensions in [1, 3, 256, 1536, 3072] {
            let norm: f64 = unit_vector(42, dimensions).iter().map(|value| f64::from(*value).powi(2)).sum();
            assert!((norm - 1.0).abs() < 1e-5, "{dimensions}: {norm}");
        }
        let (short, long) = (unit_vector(9, 4), unit_vector(9, 8));
        let ratio = short[0] / long[0];
        assert!(short.iter().zip(&long).all(|(a, b)| (a / b - ratio).abs() < 1e-3));
        assert_ne!(unit_vector(1, 8), unit_vector(2, 8));
    }
}

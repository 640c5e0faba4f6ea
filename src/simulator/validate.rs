//! Checks of JSON fields, in the words and codes of Azure's model side.
use serde_json::{Map, Value};

use super::refusal::{ErrorReply, invalid};

pub(super) type Object = Map<String, Value>;

/// The body as an object.
pub(super) fn object(body: &[u8]) -> Result<Object, ErrorReply> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(invalid(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)",
            None,
            None,
        )),
    }
}

/// A field that is there and not null.
pub(super) fn given<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

pub(super) fn missing(param: &str) -> ErrorReply {
    invalid(format!("Missing required parameter: '{param}'."), Some(param), Some("missing_required_parameter"))
}

pub(super) fn wrong_type(param: &str, expected: &str, got: &Value) -> ErrorReply {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    invalid(
        format!("Invalid type for '{param}': expected {expected}, but got {got} instead."),
        Some(param),
        Some("invalid_type"),
    )
}

pub(super) fn wrong_value(param: &str, got: &str, supported: &[&str]) -> ErrorReply {
    let supported: Vec<String> = supported.iter().map(|value| format!("'{value}'")).collect();
    invalid(
        format!("Invalid value: '{got}'. Supported values are: {}.", supported.join(", ")),
        Some(param),
        Some("invalid_value"),
    )
}

pub(super) fn unsupported(param: &str, advice: &str) -> ErrorReply {
    invalid(
        format!("Unsupported parameter: '{param}' is not supported with this model.{advice}"),
        Some(param),
        Some("unsupported_parameter"),
    )
}

pub(super) fn too_long(param: &str, most: usize, got: usize) -> ErrorReply {
    invalid(
        format!(
            "Invalid '{param}': array too long. Expected an array with maximum length {most}, but got an array with length {got} instead."
        ),
        Some(param),
        Some("array_above_max_length"),
    )
}

pub(super) fn text<'a>(object: &'a Object, name: &str) -> Result<Option<&'a str>, ErrorReply> {
    given(object, name).map(|value| value.as_str().ok_or_else(|| wrong_type(name, "a string", value))).transpose()
}

/// A whole number within `least..=most`.
pub(super) fn integer(object: &Object, name: &str, least: i64, most: i64) -> Result<Option<i64>, ErrorReply> {
    given(object, name).map(|value| integer_of(value, name, least, most)).transpose()
}

/// The value at `path` as a whole number within `least..=most`.
pub(super) fn integer_of(value: &Value, path: &str, least: i64, most: i64) -> Result<i64, ErrorReply> {
    let number = value.as_i64().ok_or_else(|| wrong_type(path, "an integer", value))?;
    if number < least {
        Err(beyond(path, "integer", "below minimum", "integer_below_min_value", ">=", &least, &number))
    } else if number > most {
        Err(beyond(path, "integer", "above maximum", "integer_above_max_value", "<=", &most, &number))
    } else {
        Ok(number)
    }
}

/// The value at `path` as a number within `least..=most`.
pub(super) fn decimal_of(value: &Value, path: &str, least: f64, most: f64) -> Result<f64, ErrorReply> {
    let number = value.as_f64().ok_or_else(|| wrong_type(path, "a decimal", value))?;
    if number < least {
        Err(beyond(path, "decimal", "below minimum", "decimal_below_min_value", ">=", &least, &number))
    } else if number > most {
        Err(beyond(path, "decimal", "above maximum", "decimal_above_max_value", "<=", &most, &number))
    } else {
        Ok(number)
    }
}

fn beyond(
    name: &str,
    kind: &str,
    side: &str,
    code: &str,
    sign: &str,
    bound: &dyn std::fmt::Display,
    got: &dyn std::fmt::Display,
) -> ErrorReply {
    invalid(
        format!("Invalid '{name}': {kind} {side} value. Expected a value {sign} {bound}, but got {got} instead."),
        Some(name),
        Some(code),
    )
}

/// Tokens of a text: characters / 4, rounded up. An estimate, stated as such; Azure's rate limits use the same one.
pub(super) fn estimated_tokens(characters: usize) -> u64 {
    characters.div_ceil(4) as u64
}

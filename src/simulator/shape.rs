//! What a JSON value must look like, as a table, and what Azure's model side says of one that does not.
use serde_json::Value;

use super::refusal::{ErrorReply, invalid};
use super::validate::{Object, decimal_of, integer_of, missing, too_long, wrong_type, wrong_value};

/// The shape of one value.
#[derive(Debug)]
pub(super) enum Shape {
    /// Anything at all.
    Any,
    Bool,
    Text,
    /// 1 to 64 of `a-z`, `A-Z`, `0-9`, `_` and `-`.
    Name,
    /// One of these words.
    Words(&'static [&'static str]),
    Integer {
        least: i64,
        most: i64,
    },
    Decimal {
        least: f64,
        most: f64,
    },
    List {
        of: &'static Shape,
        least: usize,
        most: usize,
    },
    /// Members of any name, at most so many.
    Map {
        of: &'static Shape,
        most: usize,
    },
    /// Members that are not named here are not looked at.
    Members(&'static [Member]),
    /// The text member `by` says which members the rest has.
    Tagged {
        by: &'static str,
        kinds: &'static [(&'static str, &'static [Member])],
    },
    /// Text, or the other shape.
    TextOr(&'static Shape),
}

/// A member of an object.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) shape: Shape,
}

/// May be absent, or null.
pub(super) const fn optional(name: &'static str, shape: Shape) -> Member {
    Member { name, required: false, shape }
}

pub(super) const fn required(name: &'static str, shape: Shape) -> Member {
    Member { name, required: true, shape }
}

/// Holds the members of the object at `path` to `members`; `path` is empty for the body itself.
pub(super) fn check_members(object: &Object, members: &'static [Member], path: &str) -> Result<(), ErrorReply> {
    for member in members {
        let at = || if path.is_empty() { member.name.to_owned() } else { format!("{path}.{}", member.name) };
        match object.get(member.name) {
            None | Some(Value::Null) if !member.required => {}
            None => return Err(missing(&at())),
            Some(value) => check(value, &member.shape, &at())?,
        }
    }
    Ok(())
}

/// Holds the value at `path` to `shape`.
fn check(value: &Value, shape: &'static Shape, path: &str) -> Result<(), ErrorReply> {
    match shape {
        Shape::Any => Ok(()),
        Shape::Bool => value.as_bool().map(|_| ()).ok_or_else(|| wrong_type(path, "a boolean", value)),
        Shape::Text => text(value, path).map(|_| ()),
        Shape::Name => check_name(text(value, path)?, path),
        Shape::Words(words) => {
            let word = text(value, path)?;
            if words.contains(&word) { Ok(()) } else { Err(wrong_value(path, word, words)) }
        }
        Shape::Integer { least, most } => integer_of(value, path, *least, *most).map(|_| ()),
        Shape::Decimal { least, most } => decimal_of(value, path, *least, *most).map(|_| ()),
        Shape::List { of, least, most } => {
            let items = value.as_array().ok_or_else(|| wrong_type(path, "an array", value))?;
            if items.len() < *least {
                return Err(empty(path));
            }
            if items.len() > *most {
                return Err(too_long(path, *most, items.len()));
            }
            items.iter().enumerate().try_for_each(|(at, item)| check(item, of, &format!("{path}[{at}]")))
        }
        Shape::Map { of, most } => {
            let object = object(value, path)?;
            if object.len() > *most {
                return Err(too_many(path, *most, object.len()));
            }
            object.iter().try_for_each(|(name, member)| check(member, of, &format!("{path}.{name}")))
        }
        Shape::Members(members) => check_members(object(value, path)?, members, path),
        Shape::Tagged { by, kinds } => {
            let object = object(value, path)?;
            let at = format!("{path}.{by}");
            let word = text(object.get(*by).ok_or_else(|| missing(&at))?, &at)?;
            let Some((_, members)) = kinds.iter().find(|(kind, _)| *kind == word) else {
                let words: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
                return Err(wrong_value(&at, word, &words));
            };
            check_members(object, members, path)
        }
        Shape::TextOr(_) if value.is_string() => Ok(()),
        Shape::TextOr(other @ Shape::List { .. }) if value.is_array() => check(value, other, path),
        Shape::TextOr(Shape::List { .. }) => Err(wrong_type(path, "one of a string or array", value)),
        Shape::TextOr(other) if value.is_object() => check(value, other, path),
        Shape::TextOr(_) => Err(wrong_type(path, "one of a string or object", value)),
    }
}

fn text<'a>(value: &'a Value, path: &str) -> Result<&'a str, ErrorReply> {
    value.as_str().ok_or_else(|| wrong_type(path, "a string", value))
}

fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Object, ErrorReply> {
    value.as_object().ok_or_else(|| wrong_type(path, "an object", value))
}

fn check_name(name: &str, path: &str) -> Result<(), ErrorReply> {
    if (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
        return Ok(());
    }
    let message = format!(
        "Invalid '{path}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
    );
    Err(invalid(message, Some(path), Some("invalid_value")))
}

fn empty(path: &str) -> ErrorReply {
    let message = format!(
        "Invalid '{path}': empty array. Expected an array with minimum length 1, but got an empty array instead."
    );
    invalid(message, Some(path), Some("empty_array"))
}

fn too_many(path: &str, most: usize, got: usize) -> ErrorReply {
    let message = format!(
        "Invalid '{path}': too many properties. Expected an object with at most {most} properties, but got an object with {got} properties instead."
    );
    invalid(message, Some(path), Some("object_above_max_properties"))
}

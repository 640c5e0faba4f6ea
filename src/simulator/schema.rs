//! A JSON value that conforms to a JSON Schema, as structured output and tool arguments need.
use serde_json::{Map, Value, json};

use super::chance::Chance;
use super::words::WORDS;

/// Beyond this depth optional members are left out and arrays stay as short as they may, so that recursive schemas end.
const DEEP: usize = 6;
/// A schema that insists on more depth than this gets `null`.
const TOO_DEEP: usize = 64;

/// Makes a value that conforms to `schema`, the same one for the same chance.
///
/// Covers what structured output allows: types, `enum`, `const`, `anyOf`/`oneOf`, `allOf`, local `$ref`, object
/// members, array lengths, number bounds and `multipleOf`, string lengths and the common formats. Not `pattern`.
pub(super) fn conforming(schema: &Value, chance: &mut Chance) -> Value {
    Conforming { root: schema, chance }.value(schema, 0)
}

struct Conforming<'a> {
    root: &'a Value,
    chance: &'a mut Chance,
}

impl<'a> Conforming<'a> {
    fn value(&mut self, schema: &'a Value, depth: usize) -> Value {
        if depth > TOO_DEEP {
            return Value::Null;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return pointer.map_or(Value::Null, |schema| self.value(schema, depth + 1));
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(values) = non_empty(schema, "enum") {
            return self.pick(values).cloned().unwrap_or(Value::Null);
        }
        if let Some(branches) = non_empty(schema, "anyOf").or_else(|| non_empty(schema, "oneOf")) {
            let simplest = branches.iter().find(|branch| branch.get("type").is_some_and(|kind| kind == "null"));
            let branch = if depth >= DEEP { simplest } else { None };
            return match branch.or_else(|| self.pick(branches)) {
                Some(branch) => self.value(branch, depth + 1),
                None => Value::Null,
            };
        }
        if let Some(parts) = non_empty(schema, "allOf") {
            return self.all_of(schema, parts, depth);
        }
        self.typed(schema, depth)
    }

    /// Objects are merged; of other values the first part decides.
    fn all_of(&mut self, schema: &'a Value, parts: &'a [Value], depth: usize) -> Value {
        let mut merged = Map::new();
        for part in parts {
            match self.value(part, depth + 1) {
                Value::Object(members) => merged.extend(members),
                other => return other,
            }
        }
        merged.extend(self.members(schema, depth));
        Value::Object(merged)
    }

    fn typed(&mut self, schema: &'a Value, depth: usize) -> Value {
        let kind = match schema.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(kinds)) if depth >= DEEP && kinds.iter().any(|kind| kind == "null") => "null",
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).next().unwrap_or("null"),
            _ if schema.get("properties").is_some() => "object",
            _ if schema.get("items").is_some() => "array",
            _ => "string",
        };
        match kind {
            "object" => Value::Object(self.members(schema, depth)),
            "array" => self.items(schema, depth),
            "integer" => json!(self.number(schema, 1.0) as i64),
            "number" => json!(self.number(schema, 0.5)),
            "boolean" => json!(self.chance.below(2) == 1),
            "null" => Value::Null,
            _ => Value::String(self.text(schema)),
        }
    }

    fn members(&mut self, schema: &'a Value, depth: usize) -> Map<String, Value> {
        let mut members = Map::new();
        let required = schema.get("required").and_then(Value::as_array);
        for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let is_required = required.is_some_and(|names| names.iter().any(|required| required == name));
            if is_required || depth < DEEP {
                members.insert(name.clone(), self.value(member, depth + 1));
            }
        }
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            members.entry(name).or_insert_with(|| json!("value"));
        }
        members
    }

    fn items(&mut self, schema: &'a Value, depth: usize) -> Value {
        let least = count(schema, "minItems").unwrap_or(0);
        let most = count(schema, "maxItems").unwrap_or(least + 2).max(least);
        let wanted = if depth >= DEEP { least } else { least + self.chance.below(most.min(least + 2) - least + 1) };
        let item = schema.get("items").unwrap_or(&Value::Bool(true));
        let values = (0..wanted).map(|_| match item {
            Value::Object(_) => self.value(item, depth + 1),
            _ => json!("value"),
        });
        Value::Array(values.collect())
    }

    /// A multiple of `step` (or of `multipleOf`) within the bounds.
    fn number(&mut self, schema: &Value, step: f64) -> f64 {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let step = bound("multipleOf").filter(|step| *step > 0.0).unwrap_or(step);
        let least = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|bound| bound + step));
        let most = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|bound| bound - step));
        let (least, most) = match (least, most) {
            (Some(least), Some(most)) => (least, most),
            (Some(least), None) => (least, least + 100.0 * step),
            (None, Some(most)) => (most - 100.0 * step, most),
            (None, None) => (0.0, 100.0 * step),
        };
        let (first, last) = ((least / step).ceil(), (most / step).floor());
        if last < first {
            return least;
        }
        (first + self.chance.below((last - first).min(1000.0) as u64 + 1) as f64) * step
    }

    fn text(&mut self, schema: &Value) -> String {
        match schema.get("format").and_then(Value::as_str) {
            Some("date-time") => return "2026-03-31T13:12:27Z".to_owned(),
            Some("date") => return "2026-03-31".to_owned(),
            Some("time") => return "13:12:27Z".to_owned(),
            Some("duration") => return "PT5M".to_owned(),
            Some("email") => return "someone@example.com".to_owned(),
            Some("hostname") => return "example.com".to_owned(),
            Some("ipv4") => return "192.0.2.1".to_owned(),
            Some("ipv6") => return "2001:db8::1".to_owned(),
            Some("uuid") => return "f93b3050-42ab-44dd-936f-7bc80fba2799".to_owned(),
            Some("uri") => return "https://example.com/".to_owned(),
            _ => {}
        }
        let least = count(schema, "minLength").unwrap_or(0) as usize;
        let most = count(schema, "maxLength").map_or(usize::MAX, |most| most as usize);
        let mut text = self.pick(&WORDS).map_or("", |word| word.trim_start()).to_owned();
        while text.chars().count() < least {
            text.push_str(self.pick(&WORDS).map_or(" ", |word| word));
        }
        text.chars().take(most.max(least)).collect()
    }

    fn pick<'b, T>(&mut self, from: &'b [T]) -> Option<&'b T> {
        from.get(self.chance.below(from.len() as u64) as usize)
    }
}

fn non_empty<'a>(schema: &'a Value, name: &str) -> Option<&'a [Value]> {
    schema.get(name).and_then(Value::as_array).map(Vec::as_slice).filter(|values| !values.is_empty())
}

fn count(schema: &Value, name: &str) -> Option<u64> {
    // A peer's number sizes an answer here, so it is bounded.
    schema.get(name).and_then(Value::as_u64).map(|count| count.min(10_000))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_conform_to_their_schemas() {
        let schemas = [
            json!({"type": "object", "properties": {"name": {"type": "string", "minLength": 12, "maxLength": 14}, "age": {"type": "integer", "minimum": 7, "maximum": 9}}, "required": ["name", "age"], "additionalProperties": false}),
            json!({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 3, "maxItems": 4}),
            json!({"anyOf": [{"type": "null"}, {"type": "number", "exclusiveMinimum": 1, "multipleOf": 0.25}]}),
            json!({"type": ["string", "null"], "format": "date"}),
            json!({"allOf": [{"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}, {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]}]}),
            json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}, "required": ["next", "children"]}}}),
        ];
        for schema in schemas {
            let validator = jsonschema::validator_for(&schema).unwrap();
            for seed in 0..50 {
                let value = conforming(&schema, &mut Chance::new(seed));
                assert!(validator.is_valid(&value), "{value} against {schema}");
                assert_eq!(value, conforming(&schema, &mut Chance::new(seed)));
            }
        }
    }

    #[test]
    fn a_schema_that_never_ends_gets_an_end() {
        let endless = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]});
        assert!(conforming(&endless, &mut Chance::new(1)).is_object());
    }
}

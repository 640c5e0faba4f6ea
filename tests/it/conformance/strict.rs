//! Holds a JSON value to a schema of an OpenAPI 3.0 document more strictly than the document itself does: members that
//! it does not name are refused, and a discriminator leads to the very schema that it names.
//!
//! A plain validator cannot do this: the documents leave objects open, so it lets every unknown member pass, and for it
//! a discriminator is no more than a remark.
use std::collections::BTreeMap;

use serde_json::Value;

/// One OpenAPI document, as it was published.
pub struct Document(pub Value);

/// A member, or a value, that the document has no place for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// JSON pointer; list positions are written `*`.
    pub pointer: String,
    pub why: String,
}

/// What an object schema says once its `allOf` are drawn together.
#[derive(Default)]
struct Members<'a> {
    known: BTreeMap<&'a str, &'a Value>,
    required: Vec<&'a str>,
    /// No member is named at all: the object is free-form.
    rest: Option<&'a Value>,
}

impl Document {
    /// The body schema of an operation.
    pub fn body(&self, path: &str) -> &Value {
        let schema = &self.0["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "no body for {path}");
        schema
    }

    /// What is wrong with `value`; empty when the schema describes it whole.
    pub fn violations(&self, schema: &Value, value: &Value) -> Vec<Violation> {
        let mut found = Vec::new();
        self.check(schema, value, "", &mut found);
        found
    }

    fn resolve<'a>(&'a self, mut schema: &'a Value) -> &'a Value {
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            schema = self.0.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("no {reference}"));
        }
        schema
    }

    fn check(&self, schema: &Value, value: &Value, pointer: &str, found: &mut Vec<Violation>) {
        let schema = self.resolve(schema);
        if value.is_null() && schema["nullable"] == true {
            return;
        }
        if let Some(wrapped) = wrapped(schema) {
            return self.check(wrapped, value, pointer, found);
        }
        for word in ["oneOf", "anyOf"] {
            if let Some(branches) = schema.get(word).and_then(Value::as_array) {
                return self.check_branches(branches, value, pointer, found);
            }
        }
        let mut refuse = |why: String| found.push(Violation { pointer: pointer.to_owned(), why });
        if schema.get("enum").and_then(Value::as_array).is_some_and(|allowed| !allowed.contains(value)) {
            refuse(format!("{value} is not one of the enum's"));
        }
        match value {
            Value::Object(members) => self.check_object(schema, members, pointer, found),
            Value::Array(items) => {
                if schema["type"] != "array" && (schema.get("type").is_some() || !is_free(schema)) {
                    refuse("no array may stand here".to_owned());
                }
                let count = items.len() as u64;
                if schema["minItems"].as_u64().is_some_and(|min| count < min)
                    || schema["maxItems"].as_u64().is_some_and(|max| count > max)
                {
                    refuse(format!("{count} items"));
                }
                if let Some(each) = schema.get("items") {
                    items.iter().for_each(|item| self.check(each, item, &format!("{pointer}/*"), found));
                }
            }
            _ => self.check_scalar(schema, value, &mut refuse),
        }
    }

    /// Passes if one branch fits; otherwise tells what is wrong with the branch that fits best: one that takes such a
    /// value here, or an object with this tag, and has the least against what is in it.
    fn check_branches(&self, branches: &[Value], value: &Value, pointer: &str, found: &mut Vec<Violation>) {
        let tried = branches.iter().map(|branch| {
            let mut wrong = Vec::new();
            self.check(branch, value, pointer, &mut wrong);
            wrong
        });
        let tags = ["", "/role", "/type"].map(|tag| format!("{pointer}{tag}"));
        let is_another = |wrong: &Vec<Violation>| wrong.iter().any(|violation| tags.contains(&violation.pointer));
        let worse = |wrong: &Vec<Violation>| (is_another(wrong), wrong.len());
        found.extend(tried.min_by_key(worse).unwrap_or_default());
    }

    fn check_scalar(&self, schema: &Value, value: &Value, refuse: &mut impl FnMut(String)) {
        let kind = schema["type"].as_str();
        let fits = match kind {
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some(_) => false,
            None => is_free(schema) || schema.get("enum").is_some(),
        };
        if !fits {
            refuse(format!("{value} is no {}", kind.unwrap_or("value that the schema knows")));
        }
        let beyond = |bound: &str, is_beyond: fn(f64, f64) -> bool| match (schema[bound].as_f64(), value.as_f64()) {
            (Some(bound), Some(number)) => is_beyond(number, bound),
            _ => false,
        };
        if beyond("minimum", |number, least| number < least) || beyond("maximum", |number, most| number > most) {
            refuse(format!("{value} is out of range"));
        }
        let length = value.as_str().map_or(u64::MAX, |text| text.chars().count() as u64);
        if schema["minLength"].as_u64().is_some_and(|min| length < min) {
            refuse("too short".to_owned());
        }
    }

    fn check_object(
        &self,
        schema: &Value,
        object: &serde_json::Map<String, Value>,
        pointer: &str,
        found: &mut Vec<Violation>,
    ) {
        let mut members = Members::default();
        self.gather(schema, object, &mut members);
        let free = members.known.is_empty() && (is_free(schema) || schema.get("additionalProperties").is_some());
        if !free && members.known.is_empty() {
            found.push(Violation { pointer: pointer.to_owned(), why: "no object may stand here".to_owned() });
        }
        for (name, value) in object {
            let pointer = format!("{pointer}/{name}");
            match (members.known.get(name.as_str()), members.rest) {
                (Some(known), _) => self.check(known, value, &pointer, found),
                (None, Some(rest)) if free && rest.is_object() => self.check(rest, value, &pointer, found),
                (None, _) if free => {}
                (None, _) => found.push(Violation { pointer, why: "unknown member".to_owned() }),
            }
        }
        for name in members.required {
            if !object.contains_key(name) {
                found.push(Violation { pointer: pointer.to_owned(), why: format!("lacks {name}") });
            }
        }
    }

    fn gather<'a>(&'a self, schema: &'a Value, object: &serde_json::Map<String, Value>, members: &mut Members<'a>) {
        let schema = self.resolve(schema);
        // The base's own members are the weaker ones: the schema that the discriminator names states them again.
        for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            members.known.entry(name).or_insert(member);
        }
        members.required.extend(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
        members.rest = members.rest.or(schema.get("additionalProperties"));
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.gather(part, object, members);
        }
        if let Some(discriminator) = schema.get("discriminator") {
            let word = discriminator["propertyName"].as_str().and_then(|name| object.get(name)?.as_str());
            let named = word.and_then(|word| discriminator["mapping"].get(word)).and_then(Value::as_str);
            if let Some(named) = named.and_then(|named| self.0.pointer(named.trim_start_matches('#'))) {
                self.gather_named(named, schema, object, members);
            }
        }
    }

    /// The schema that a discriminator names builds on the base that has the discriminator: not round again.
    fn gather_named<'a>(
        &'a self,
        named: &'a Value,
        base: &'a Value,
        object: &serde_json::Map<String, Value>,
        members: &mut Members<'a>,
    ) {
        for (name, member) in named.get("properties").and_then(Value::as_object).into_iter().flatten() {
            members.known.insert(name, member);
        }
        members.required.extend(named["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
        for part in named.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            if !std::ptr::eq(self.resolve(part), base) {
                self.gather(part, object, members);
            }
        }
    }
}

/// OpenAPI 3.0 says nothing beside a `$ref`, so the documents wrap a reference to add a description to it.
fn wrapped(schema: &Value) -> Option<&Value> {
    match schema.get("allOf")?.as_array()?.as_slice() {
        [only] if schema.get("properties").is_none() => Some(only),
        _ => None,
    }
}

/// Says nothing about what stands here: anything may.
fn is_free(schema: &Value) -> bool {
    let silent = ["type", "properties", "allOf", "enum"].iter().all(|word| schema.get(word).is_none());
    let open_object = schema["type"] == "object" && schema.get("properties").is_none() && schema.get("allOf").is_none();
    silent || open_object
}

#[test]
fn what_it_refuses() {
    use serde_json::json;
    let document = Document(json!({"components": {"schemas": {
        "base": {"type": "object", "required": ["role"], "properties": {"role": {"type": "string", "enum": ["user", "tool"]}},
                 "discriminator": {"propertyName": "role", "mapping": {"user": "#/components/schemas/user", "tool": "#/components/schemas/tool"}}},
        "user": {"allOf": [{"$ref": "#/components/schemas/base"}], "properties": {"name": {"type": "string"}}},
        "tool": {"allOf": [{"$ref": "#/components/schemas/base"}], "required": ["id"], "properties": {"id": {"type": "string"}}},
        "body": {"type": "object", "allOf": [{"type": "object", "properties": {"user": {"type": "string", "minLength": 1}}}, {
            "required": ["messages"],
            "properties": {
                "messages": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/base"}},
                "heat": {"type": "number", "minimum": 0, "maximum": 2, "nullable": true},
                "count": {"type": "integer"},
                "stop": {"oneOf": [{"type": "string"}, {"type": "array", "maxItems": 2, "items": {"type": "string"}}]},
                "bias": {"type": "object", "additionalProperties": {"type": "integer"}},
                "schema": {"type": "object", "additionalProperties": true},
                "anything": {"description": "whatever"},
                "effort": {"allOf": [{"type": "string", "enum": ["low"]}], "nullable": true},
                "halt": {"allOf": [{"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}]}}}]}}}}));
    let schema = json!({"$ref": "#/components/schemas/body"});
    let message = json!([{"role": "user", "name": "a"}]);
    let checked = |members: Value| {
        let mut body = json!({"messages": message});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let violations = document.violations(&schema, &body);
        violations.into_iter().map(|violation| violation.pointer).collect::<Vec<_>>()
    };
    for good in [
        json!({}),
        json!({"user": "a", "heat": 1.5, "count": 3, "stop": "x"}),
        json!({"heat": null, "stop": ["x", "y"], "bias": {"50256": -100}, "effort": "low", "halt": ["x"]}),
        json!({"schema": {"a": {"b": [1]}}, "anything": {"a": 1}}),
        json!({"messages": [{"role": "tool", "id": "1"}]}),
    ] {
        assert_eq!(checked(good.clone()), Vec::<String>::new(), "{good}");
    }
    for (bad, pointer) in [
        (json!({"unknown": 1}), "/unknown"),
        (json!({"user": 1}), "/user"),
        (json!({"user": ""}), "/user"),
        (json!({"heat": 2.5}), "/heat"),
        (json!({"heat": "hot"}), "/heat"),
        (json!({"count": 1.0}), "/count"),
        (json!({"count": [1]}), "/count"),
        (json!({"count": {}}), "/count"),
        (json!({"stop": ["x", "y", "z"]}), "/stop"),
        (json!({"stop": 1}), "/stop"),
        (json!({"bias": {"1": 0.5}}), "/bias/1"),
        (json!({"effort": "high"}), "/effort"),
        (json!({"halt": [1]}), "/halt/*"),
        (json!({"halt": 1}), "/halt"),
        (json!({"messages": []}), "/messages"),
        (json!({"messages": [{"role": "robot"}]}), "/messages/*/role"),
        (json!({"messages": [{"role": "user", "id": "1"}]}), "/messages/*/id"),
        (json!({"messages": [{"role": "tool"}]}), "/messages/*"),
        (json!({"messages": [{}]}), "/messages/*"),
    ] {
        assert_eq!(checked(bad.clone()), [pointer], "{bad}");
    }
}

//! Loads the official Azure OpenAI specifications and builds validators for their schemas.
//!
//! The files are found at `SEALANE_AZURE_SPEC`, by default `../shared/azure-openai-spec` from the repository root.
use std::io::Write as _;
use std::path::PathBuf;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

/// The dated GA specification.
pub const DATED: &str = "inference-2024-10-21.json";
/// The v1 GA specification.
pub const V1: &str = "openai-v1.json";

/// Where the specifications are; `None`, and a plain word on standard error, where they are absent.
pub fn directory() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/azure-openai-spec");
    let directory = std::env::var_os("SEALANE_AZURE_SPEC").map_or_else(|| PathBuf::from(default), PathBuf::from);
    if directory.join(DATED).is_file() {
        return Some(directory);
    }
    // Past the test runner's capture: who reads the output must see what was not checked.
    let told = format!("SKIPPED: no Azure OpenAI specifications at {}; set SEALANE_AZURE_SPEC\n", directory.display());
    let _ = std::io::stderr().write_all(told.as_bytes());
    None
}

/// One OpenAPI document, its `nullable` rewritten for JSON Schema.
pub struct Spec {
    document: Value,
}

impl Spec {
    /// Reads `file` ([`DATED`] or [`V1`]); `None` where the specifications are absent.
    pub fn load(file: &str) -> Option<Self> {
        let text = std::fs::read_to_string(directory()?.join(file)).unwrap();
        let mut document = serde_json::from_str(&text).unwrap();
        rewrite(&mut document);
        Some(Self { document })
    }

    /// Validates against the component schema `name`.
    pub fn component(&self, name: &str) -> Validator {
        assert!(self.document["components"]["schemas"].get(name).is_some(), "no component {name}");
        self.validator(json!({"$ref": format!("#/components/schemas/{name}")}))
    }

    /// Validates the JSON body of a request of `method` to `path`, both as the document writes them.
    pub fn request(&self, method: &str, path: &str) -> Validator {
        let operation = self.operation(method, path);
        self.validator(operation["requestBody"]["content"]["application/json"]["schema"].clone())
    }

    /// Validates a body of `method` to `path` with this status (or the document's `default`) and media type.
    pub fn response(&self, method: &str, path: &str, status: &str, media_type: &str) -> Validator {
        let responses = &self.operation(method, path)["responses"];
        let response = responses.get(status).unwrap_or(&responses["default"]);
        self.validator(response["content"][media_type]["schema"].clone())
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        self.document["paths"][path].get(method).unwrap_or_else(|| panic!("no operation {method} {path}"))
    }

    /// A validator for `schema`, whose local references point into this document.
    pub fn validator(&self, schema: Value) -> Validator {
        assert!(schema.is_object(), "no such schema");
        let root = json!({"allOf": [schema], "components": self.document["components"].clone()});
        jsonschema::options().with_draft(Draft::Draft4).build(&root).unwrap()
    }
}

/// Makes plain JSON Schema of OpenAPI 3.0: `nullable` becomes a type `null`, and a null in `enum`.
fn rewrite(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(rewrite),
        Value::Object(members) => {
            members.values_mut().for_each(rewrite);
            rewrite_nullable(members);
        }
        _ => {}
    }
}

fn rewrite_nullable(schema: &mut Map<String, Value>) {
    if schema.get("nullable") != Some(&Value::Bool(true)) {
        return;
    }
    schema.remove("nullable");
    if let Some(Value::String(kind)) = schema.get("type").cloned() {
        schema.insert("type".to_owned(), json!([kind, "null"]));
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
    if schema.contains_key("$ref")
        || schema.contains_key("allOf")
        || schema.contains_key("anyOf")
        || schema.contains_key("oneOf")
    {
        let strict = Value::Object(std::mem::take(schema));
        schema.insert("anyOf".to_owned(), json!([{"type": "null"}, strict]));
    }
}

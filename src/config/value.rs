//! Single values of the file: how they are written, and what they mean.
use std::{borrow::Cow, net::SocketAddr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use sealane_core::domain::{ModelKind, OnMismatch, OnVersionMismatch, ProcessingScope, Sku, UpstreamStream};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::problem::{Findings, Place, suggest};
use crate::{azure::OutputCap, identity::Audience};

/// A value that is written as one scalar.
pub(super) trait Scalar: Sized {
    /// From its text, or what it should have been.
    fn read(text: &str) -> Result<Self, String>;
    /// As it is written.
    fn write(&self) -> String;
    /// As YAML has it: text, unless a value has a type of its own there.
    fn emit<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.write())
    }
    /// For editors.
    fn schema() -> Schema;
}

/// One scalar of the file and where it stands. What cannot be read is kept until the file is checked as a whole, so
/// that all problems are told at once.
#[derive(Clone, Debug)]
pub(super) struct Setting<T> {
    value: Result<T, String>,
    pub(super) place: Place,
}

impl<T: Scalar> Setting<T> {
    /// The value; `None`, told to `findings`, if it cannot be read.
    pub(super) fn take(&self, findings: &mut Findings<'_>) -> Option<&T> {
        match &self.value {
            Ok(value) => Some(value),
            Err(expected) => {
                findings.refuse(self.place, expected.clone());
                None
            }
        }
    }

    /// The value where it was readable, without telling again that it was not.
    pub(super) fn peek(&self) -> Option<&T> {
        self.value.as_ref().ok()
    }
}

/// A default: stands nowhere in the file.
impl<T> From<T> for Setting<T> {
    fn from(value: T) -> Self {
        Self { value: Ok(value), place: Place::default() }
    }
}

impl<'de, T: Scalar> Deserialize<'de> for Setting<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { value: T::read(spanned.value.trim()), place: spanned.referenced.into() })
    }
}

impl<T: Scalar> Serialize for Setting<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Ok(value) => value.emit(serializer),
            Err(_) => serializer.serialize_none(),
        }
    }
}

impl<T: Scalar> JsonSchema for Setting<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Setting".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

/// A section of the file and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { value: spanned.value, place: spanned.referenced.into() })
    }
}

impl<T: Serialize> Serialize for Placed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Where a secret is kept. The file never holds one itself.
#[derive(Clone, Debug)]
pub(super) struct SecretRef {
    pub(super) source: SecretSource,
    pub(super) place: Place,
}

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecretSource {
    /// In this environment variable.
    Env(String),
    /// In this file; relative to the configuration's folder.
    File(String),
    /// Written into the file, where it does not belong. Not kept.
    Literal,
}

impl SecretRef {
    /// Hides what it names.
    pub(super) fn redact(&mut self) {
        let (SecretSource::Env(name) | SecretSource::File(name)) = &mut self.source else { return };
        "***".clone_into(name);
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<SecretSource>::deserialize(deserializer)?;
        Ok(Self { source: spanned.value, place: spanned.referenced.into() })
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretSourceVisitor)
    }
}

struct SecretSourceVisitor;

/// Any scalar is a literal and is dropped, so that no error can repeat it.
impl<'de> Visitor<'de> for SecretSourceVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{ env: NAME } or { file: PATH }")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretSource, E> {
        Ok(SecretSource::Literal)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<SecretSource, E> {
        Ok(SecretSource::Literal)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretSource, E> {
        Ok(SecretSource::Literal)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretSource, E> {
        Ok(SecretSource::Literal)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<SecretSource, E> {
        Ok(SecretSource::Literal)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<SecretSource, E> {
        Ok(SecretSource::Literal)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretSource, E> {
        Ok(SecretSource::Literal)
    }

    fn visit_unit<E: de::Error>(self) -> Result<SecretSource, E> {
        Ok(SecretSource::Literal)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
        const KEYS: &[&str] = &["env", "file"];
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            let source = match key.as_str() {
                "env" => SecretSource::Env(map.next_value()?),
                "file" => SecretSource::File(map.next_value()?),
                other => return Err(de::Error::unknown_field(other, KEYS)),
            };
            if found.replace(source).is_some() {
                return Err(de::Error::custom("give either `env` or `file`, not both"));
            }
        }
        found.ok_or_else(|| de::Error::custom("give `env: NAME` or `file: PATH`"))
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, value) = match &self.source {
            SecretSource::Env(name) => ("env", name.as_str()),
            SecretSource::File(path) => ("file", path.as_str()),
            SecretSource::Literal => ("literal", "***"),
        };
        serializer.collect_map([(key, value)])
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "SecretRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where a secret is kept. The file never holds one itself.",
            "oneOf": [
                {
                    "type": "object",
                    "properties": { "env": { "type": "string", "description": "Name of an environment variable." } },
                    "required": ["env"],
                    "additionalProperties": false
                },
                {
                    "type": "object",
                    "properties": { "file": {
                        "type": "string",
                        "description": "A file, relative to the configuration's folder. Blank space around it is cut."
                    } },
                    "required": ["file"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

impl Scalar for String {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("must not be empty".into()) } else { Ok(text.to_owned()) }
    }

    fn write(&self) -> String {
        self.clone()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl Scalar for bool {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is neither `true` nor `false`"))
    }

    fn write(&self) -> String {
        self.to_string()
    }

    fn emit<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*self)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

impl Scalar for u32 {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is not a whole number from 0 to {}", Self::MAX))
    }

    fn write(&self) -> String {
        self.to_string()
    }

    fn emit<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(*self)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 0 })
    }
}

impl Scalar for SocketAddr {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is not an IP address with a port, such as `127.0.0.1:50051`"))
    }

    fn write(&self) -> String {
        self.to_string()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["127.0.0.1:50051", "0.0.0.0:50051", "[::]:50051"] })
    }
}

/// Whole numbers with a unit: `500ms`, `10s`, `5m`, `1h`, `1d`.
impl Scalar for Duration {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration such as `500ms`, `10s`, `5m`, `1h` or `1d`");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (amount, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
        let amount: u32 = amount.parse().map_err(|_| wrong())?;
        match unit.trim_start() {
            "ms" => Ok(Self::from_millis(amount.into())),
            "s" => Ok(Self::from_secs(amount.into())),
            "m" => Ok(Self::from_secs(u64::from(amount) * 60)),
            "h" => Ok(Self::from_secs(u64::from(amount) * 3600)),
            "d" => Ok(Self::from_secs(u64::from(amount) * 86_400)),
            "" => Err(format!("`{text}` lacks its unit: write `{text}s` or `{text}ms`")),
            _ => Err(wrong()),
        }
    }

    fn write(&self) -> String {
        match self.as_millis() {
            0 => "0s".to_owned(),
            ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
            ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
            ms => format!("{ms}ms"),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ ?(ms|s|m|h|d)$", "examples": ["500ms", "10s", "5m", "1h"] })
    }
}

/// A number of bytes: `65536`, `64KiB`, `16MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) usize);

impl Scalar for Bytes {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size such as `65536`, `64KiB` or `16MiB`");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (amount, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
        let amount: usize = amount.parse().map_err(|_| wrong())?;
        let unit: usize = match unit.trim_start() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        amount.checked_mul(unit).map(Self).ok_or_else(wrong)
    }

    fn write(&self) -> String {
        match self.0 {
            n if n > 0 && n % (1 << 20) == 0 => format!("{}MiB", n >> 20),
            n if n > 0 && n % (1 << 10) == 0 => format!("{}KiB", n >> 10),
            n => n.to_string(),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB)?$", "minimum": 0 })
    }
}

/// The two families of addresses that Azure has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathFamily {
    Dated,
    V1,
}

/// Who the service is in Entra ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntraKind {
    WorkloadIdentity,
    ManagedIdentity,
    ClientSecret,
    AzureCli,
}

/// Values that are one of a few words.
macro_rules! words {
    ($type:ty, $what:literal, [$($word:literal => $value:expr),+ $(,)?]) => {
        impl Scalar for $type {
            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    other => Err(format!("`{other}` is not {}{}", $what, suggest(other, &[$($word),+]))),
                }
            }

            fn write(&self) -> String {
                let words = [$(($value, $word)),+];
                words.iter().find(|(value, _)| value == self).map(|(_, word)| (*word).to_owned()).unwrap_or_default()
            }

            fn schema() -> Schema {
                json_schema!({ "enum": [$($word),+] })
            }
        }
    };
}

pub(super) use words;

words!(PathFamily, "a path style", ["dated" => Self::Dated, "v1" => Self::V1]);
words!(EntraKind, "an identity of Entra ID", [
    "workload_identity" => Self::WorkloadIdentity,
    "managed_identity" => Self::ManagedIdentity,
    "client_secret" => Self::ClientSecret,
    "azure_cli" => Self::AzureCli,
]);
words!(OutputCap, "a name for the longest answer", [
    "max_completion_tokens" => Self::MaxCompletionTokens,
    "max_tokens" => Self::MaxTokens,
]);
words!(ModelKind, "a kind of model", ["chat" => Self::Chat, "embedding" => Self::Embedding]);
words!(UpstreamStream, "a way to call upstream", ["auto" => Self::Auto, "never" => Self::Never]);
words!(OnVersionMismatch, "a meaning of another version", ["alarm" => Self::Alarm, "fail" => Self::Fail]);
words!(ProcessingScope, "a processing scope", [
    "regional" => Self::Regional,
    "data_zone" => Self::DataZone,
    "global" => Self::Global,
]);
words!(OnMismatch, "what follows a mismatch", ["alarm" => Self::Alarm, "quarantine" => Self::Quarantine]);
/// As words; as a boolean, all or nothing.
impl Scalar for Audience {
    fn read(text: &str) -> Result<Self, String> {
        const WORDS: &[&str] = &["nobody", "operators", "callers", "anyone"];
        match text {
            "nobody" | "false" => Ok(Self::Nobody),
            "operators" => Ok(Self::Operators),
            "callers" => Ok(Self::Callers),
            "anyone" | "true" => Ok(Self::Anyone),
            other => Err(format!("`{other}` is not an audience{}", suggest(other, WORDS))),
        }
    }

    fn write(&self) -> String {
        let word = match self {
            Self::Nobody => "nobody",
            Self::Operators => "operators",
            Self::Callers => "callers",
            Self::Anyone => "anyone",
        };
        word.to_owned()
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["nobody", "operators", "callers", "anyone", true, false] })
    }
}

words!(Sku, "a deployment type (`sku.name` in Azure)", [
    "Standard" => Self::Standard,
    "ProvisionedManaged" => Self::ProvisionedManaged,
    "DataZoneStandard" => Self::DataZoneStandard,
    "DataZoneProvisionedManaged" => Self::DataZoneProvisionedManaged,
    "GlobalStandard" => Self::GlobalStandard,
    "GlobalProvisionedManaged" => Self::GlobalProvisionedManaged,
    "DeveloperTier" => Self::DeveloperTier,
]);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_read_back_as_written() {
        for (text, expected) in [
            ("500ms", Some(Duration::from_millis(500))),
            ("10s", Some(Duration::from_secs(10))),
            ("5 m", Some(Duration::from_secs(300))),
            ("1h", Some(Duration::from_secs(3600))),
            ("2d", Some(Duration::from_secs(172_800))),
            ("0s", Some(Duration::ZERO)),
            ("10", None),
            ("-1s", None),
            ("1.5s", None),
            ("10 parsecs", None),
            ("99999999999s", None),
            ("", None),
        ] {
            let read = Duration::read(text).ok();
            assert_eq!(read, expected, "{text}");
            if let Some(read) = read {
                assert_eq!(Duration::read(&read.write()).unwrap(), read, "{text}");
            }
        }
    }

    #[test]
    fn sizes_read_back_as_written() {
        for (text, expected) in [
            ("65536", Some(65536)),
            ("64KiB", Some(65536)),
            ("16 MiB", Some(16 << 20)),
            ("0", Some(0)),
            ("16MB", None),
            ("99999999999999999999", None),
            ("MiB", None),
        ] {
            let read = Bytes::read(text).ok();
            assert_eq!(read, expected.map(Bytes), "{text}");
            if let Some(read) = read {
                assert_eq!(Bytes::read(&read.write()).unwrap(), read, "{text}");
            }
        }
    }
}

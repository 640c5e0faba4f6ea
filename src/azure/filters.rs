//! Azure's content filter annotations -> domain (contract section 3.2).
use std::{borrow::Cow, fmt};

use sealane_core::domain::{ContentFilterResults, ContentFilterVerdict, Severity};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// `content_filter_results`: category to verdict, and `error` where the filter itself failed. Comes with every chunk, so
/// that what is usual costs one allocation.
pub(super) fn filters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ContentFilterResults, D::Error> {
    struct Categories;

    impl<'de> Visitor<'de> for Categories {
        type Value = ContentFilterResults;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of content filter categories")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(ContentFilterResults::default())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut results = ContentFilterResults::default();
            while let Some(Category(category)) = map.next_key()? {
                if category == "error" {
                    results.unfiltered |= !matches!(map.next_value()?, Plain::Null);
                    continue;
                }
                let Plain::Verdict { filtered, detected, severity } = map.next_value()? else { continue };
                if results.verdicts.is_empty() {
                    results.verdicts.reserve(8);
                }
                results.verdicts.push(ContentFilterVerdict { category, filtered, detected, severity });
            }
            Ok(results)
        }
    }

    deserializer.deserialize_any(Categories)
}

/// A category's name; those that are known cost no allocation.
struct Category(Cow<'static, str>);

impl<'de> Deserialize<'de> for Category {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KNOWN: [&str; 12] = [
            "hate",
            "self_harm",
            "sexual",
            "violence",
            "jailbreak",
            "indirect_attack",
            "protected_material_text",
            "protected_material_code",
            "profanity",
            "custom_blocklists",
            "ungrounded_material",
            "error",
        ];

        struct Name;

        impl Visitor<'_> for Name {
            type Value = Category;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a category")
            }

            fn visit_str<E>(self, name: &str) -> Result<Category, E> {
                let known = KNOWN.iter().find(|known| **known == name);
                Ok(Category(known.map_or_else(|| name.chars().take(64).collect(), |known| Cow::Borrowed(*known))))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

/// What stands in a verdict or in its place. Shapes that are not known (`custom_blocklists.details`, and what is still
/// to come) are read over.
enum Plain {
    Null,
    Flag(bool),
    Grade(Severity),
    Verdict { filtered: bool, detected: Option<bool>, severity: Option<Severity> },
    Other,
}

impl Plain {
    fn flag(self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(flag) } else { None }
    }

    fn grade(self) -> Option<Severity> {
        if let Self::Grade(severity) = self { Some(severity) } else { None }
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Filtered,
    Detected,
    Severity,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;

        impl<'de> Visitor<'de> for Anything {
            type Value = Plain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a verdict")
            }

            fn visit_unit<E>(self) -> Result<Plain, E> {
                Ok(Plain::Null)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Plain, E> {
                Ok(Plain::Flag(flag))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Plain, E> {
                Ok(Plain::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Plain, E> {
                Ok(Plain::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Plain, E> {
                Ok(Plain::Other)
            }

            fn visit_str<E>(self, word: &str) -> Result<Plain, E> {
                Ok(match word {
                    "safe" => Plain::Grade(Severity::Safe),
                    "low" => Plain::Grade(Severity::Low),
                    "medium" => Plain::Grade(Severity::Medium),
                    "high" => Plain::Grade(Severity::High),
                    _ => Plain::Other,
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Plain, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Plain::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
                let (mut filtered, mut detected, mut severity) = (None, None, None);
                while let Some(member) = map.next_key()? {
                    match member {
                        Member::Filtered => filtered = map.next_value::<Plain>()?.flag(),
                        Member::Detected => detected = map.next_value::<Plain>()?.flag(),
                        Member::Severity => severity = map.next_value::<Plain>()?.grade(),
                        Member::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                if filtered.is_none() && detected.is_none() && severity.is_none() {
                    return Ok(Plain::Other);
                }
                Ok(Plain::Verdict { filtered: filtered.unwrap_or_default(), detected, severity })
            }
        }

        deserializer.deserialize_any(Anything)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Holder {
        #[serde(default, deserialize_with = "filters")]
        results: ContentFilterResults,
    }

    fn read(results: &str) -> ContentFilterResults {
        serde_json::from_str::<Holder>(&format!(r#"{{"results":{results}}}"#)).unwrap().results
    }

    fn verdict(
        category: &'static str,
        filtered: bool,
        detected: Option<bool>,
        severity: Option<Severity>,
    ) -> ContentFilterVerdict {
        ContentFilterVerdict { category: category.into(), filtered, detected, severity }
    }

    #[test]
    fn what_azure_sends_and_may_send() {
        let hate = || verdict("hate", false, None, Some(Severity::Safe));
        for (results, verdicts) in [
            ("{}", vec![]),
            ("null", vec![]),
            (r#"{"hate":{"filtered":false,"severity":"safe"}}"#, vec![hate()]),
            (r#"{"hate":{"severity":"safe","filtered":false,"new":{"a":[1,{}]}}}"#, vec![hate()]),
            (r#"{"\u0068ate":{"filtered":false,"severity":"s\u0061fe"}}"#, vec![hate()]),
            (r#"{"jailbreak":{"detected":true,"filtered":true}}"#, vec![verdict("jailbreak", true, Some(true), None)]),
            (
                r#"{"protected_material_code":{"detected":true,"filtered":false,"citation":{"URL":"u","license":"l"}}}"#,
                vec![verdict("protected_material_code", false, Some(true), None)],
            ),
            (
                r#"{"custom_blocklists":{"filtered":true,"details":[{"filtered":true,"id":"x"}]}}"#,
                vec![verdict("custom_blocklists", true, None, None)],
            ),
            (r#"{"hate":{"filtered":true,"severity":"unheard of"}}"#, vec![verdict("hate", true, None, None)]),
            (
                r#"{"hate":{"filtered":null,"severity":"high"}}"#,
                vec![verdict("hate", false, None, Some(Severity::High))],
            ),
            (r#"{"tomorrow":{"filtered":true}}"#, vec![verdict("tomorrow", true, None, None)]),
            (r#"{"a":null,"b":[1,2],"c":"x","d":1,"e":-1,"f":1.5,"g":true,"h":{"x":1}}"#, vec![]),
        ] {
            assert_eq!(read(results), ContentFilterResults { verdicts, unfiltered: false }, "{results}");
        }
    }

    #[test]
    fn a_filter_that_failed_left_the_text_unfiltered() {
        for code in [r#""content_filter_error""#, "500"] {
            let results = read(&format!(r#"{{"error":{{"code":{code},"message":"The contents are not filtered"}}}}"#));
            assert_eq!(results, ContentFilterResults { verdicts: vec![], unfiltered: true });
        }
        assert!(!read(r#"{"error":null}"#).unfiltered);
    }
}

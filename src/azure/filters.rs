//! Azure's content filter annotations -> domain (contract section 3.2).
use std::{borrow::Cow, fmt};

use sealane_core::domain::{
    CodeCitation, ContentFilterResults, ContentFilterVerdict, FilterDetail, FilterGrounds, Severity,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
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
                let Plain::Verdict(verdict) = map.next_value()? else { continue };
                if results.verdicts.is_empty() {
                    results.verdicts.reserve(8);
                }
                results.verdicts.push(ContentFilterVerdict { category, ..verdict });
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
        const KNOWN: [&str; 14] = [
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
            "custom_topics",
            "personally_identifiable_information",
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

/// What stands in a verdict or in its place. Shapes that are not known are read over, and what a text said
/// (`personally_identifiable_information.redacted_text`) is not repeated in a verdict.
enum Plain {
    Null,
    Flag(bool),
    Grade(Severity),
    /// Its category is not known yet.
    Verdict(ContentFilterVerdict),
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
    Citation,
    Details,
    SubCategories,
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
                let mut grounds = None::<Box<FilterGrounds>>;
                while let Some(member) = map.next_key()? {
                    match member {
                        Member::Filtered => filtered = map.next_value::<Plain>()?.flag(),
                        Member::Detected => detected = map.next_value::<Plain>()?.flag(),
                        Member::Severity => severity = map.next_value::<Plain>()?.grade(),
                        Member::Citation => {
                            if let Lenient(Some(Citation { uri, license })) = map.next_value()? {
                                let citation =
                                    CodeCitation { uri: uri.unwrap_or_default(), license: license.unwrap_or_default() };
                                grounds.get_or_insert_default().citation = Some(citation);
                            }
                        }
                        Member::Details | Member::SubCategories => {
                            if let Lenient(Some(details)) = map.next_value::<Lenient<Vec<Detail>>>()?
                                && !details.is_empty()
                            {
                                let details = details.into_iter().map(FilterDetail::from);
                                grounds.get_or_insert_default().details.extend(details);
                            }
                        }
                        Member::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                if filtered.is_none() && detected.is_none() && severity.is_none() {
                    return Ok(Plain::Other);
                }
                let filtered = filtered.unwrap_or_default();
                Ok(Plain::Verdict(ContentFilterVerdict { category: "".into(), filtered, detected, severity, grounds }))
            }
        }

        deserializer.deserialize_any(Anything)
    }
}

/// `None` where the shape is another: verdicts count, and must not be lost for what stands beside them.
struct Lenient<T>(Option<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Rare enough to be read twice.
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(serde_json::from_value(value).ok()))
    }
}

#[derive(Deserialize)]
struct Citation {
    #[serde(rename = "URL", alias = "url")]
    uri: Option<String>,
    license: Option<String>,
}

/// A row of `details` or of `sub_categories`.
#[derive(Deserialize)]
struct Detail {
    #[serde(alias = "sub_category")]
    id: Option<String>,
    filtered: Option<bool>,
    detected: Option<bool>,
    redacted: Option<bool>,
    completion_start_offset: Option<i32>,
    completion_end_offset: Option<i32>,
}

impl From<Detail> for FilterDetail {
    fn from(wire: Detail) -> Self {
        Self {
            id: wire.id.unwrap_or_default(),
            filtered: wire.filtered.unwrap_or_default(),
            detected: wire.detected.unwrap_or_default(),
            redacted: wire.redacted.unwrap_or_default(),
            start_offset: wire.completion_start_offset.unwrap_or_default(),
            end_offset: wire.completion_end_offset.unwrap_or_default(),
        }
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
        ContentFilterVerdict { category: category.into(), filtered, detected, severity, grounds: None }
    }

    fn with(verdict: ContentFilterVerdict, grounds: FilterGrounds) -> ContentFilterVerdict {
        ContentFilterVerdict { grounds: Some(Box::new(grounds)), ..verdict }
    }

    fn grounded(verdict: ContentFilterVerdict, detail: FilterDetail) -> ContentFilterVerdict {
        with(verdict, FilterGrounds { citation: None, details: vec![detail] })
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
                vec![with(
                    verdict("protected_material_code", false, Some(true), None),
                    FilterGrounds {
                        citation: Some(CodeCitation { uri: "u".into(), license: "l".into() }),
                        details: vec![],
                    },
                )],
            ),
            (
                r#"{"custom_blocklists":{"filtered":true,"details":[{"filtered":true,"id":"x"}]}}"#,
                vec![grounded(
                    verdict("custom_blocklists", true, None, None),
                    FilterDetail { id: "x".into(), filtered: true, ..FilterDetail::default() },
                )],
            ),
            (
                r#"{"ungrounded_material":{"detected":true,"filtered":false,"details":[{"completion_start_offset":3,"completion_end_offset":9}]}}"#,
                vec![grounded(
                    verdict("ungrounded_material", false, Some(true), None),
                    FilterDetail { start_offset: 3, end_offset: 9, ..FilterDetail::default() },
                )],
            ),
            (
                r#"{"personally_identifiable_information":{"filtered":false,"redacted_text":"secret","sub_categories":[{"sub_category":"Email","filtered":false,"detected":true,"redacted":true}]}}"#,
                vec![grounded(
                    verdict("personally_identifiable_information", false, None, None),
                    FilterDetail { id: "Email".into(), detected: true, redacted: true, ..FilterDetail::default() },
                )],
            ),
            (
                r#"{"custom_blocklists":{"filtered":true,"details":{"a":1}},"protected_material_code":{"filtered":false,"citation":[]}}"#,
                vec![
                    verdict("custom_blocklists", true, None, None),
                    verdict("protected_material_code", false, None, None),
                ],
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

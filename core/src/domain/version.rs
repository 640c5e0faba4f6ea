//! Which version of its model a deployment is meant to serve. Azure upgrades deployments by itself.
use std::sync::Arc;

/// The model version that a chat target is meant to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedVersion {
    /// As Azure writes it, such as `2024-11-20`.
    pub version: Arc<str>,
    /// What another one means.
    pub on_mismatch: OnVersionMismatch,
}

/// What an answer of another model version means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnVersionMismatch {
    /// An alarm; the answer counts.
    #[default]
    Alarm,
    /// The attempt failed, and another target is tried.
    Fail,
}

impl ExpectedVersion {
    /// Whether a reply that says to come from `model` (`gpt-4o-2024-08-06`) comes from another version than this. Says
    /// no if the reply states none: names such as `gpt-4o` occur as well.
    pub fn differs_from(&self, model: &str) -> bool {
        states_version(model) && !ends_with_part(model, &self.version)
    }

    /// Whether such a reply is no answer.
    pub fn refuses(&self, model: &str) -> bool {
        self.on_mismatch == OnVersionMismatch::Fail && self.differs_from(model)
    }
}

/// `name` ends with `part`, and a dash stands before it.
fn ends_with_part(name: &str, part: &str) -> bool {
    let tail = name.len().checked_sub(part.len()).and_then(|at| name.split_at_checked(at));
    tail.is_some_and(|(head, tail)| head.ends_with('-') && tail.eq_ignore_ascii_case(part))
}

/// Azure's versions end in a date, `2024-11-20` or `0613`, some with `-preview` behind it.
fn states_version(model: &str) -> bool {
    let name = model.strip_suffix("-preview").unwrap_or(model);
    ["-0000-00-00", "-0000"].iter().any(|shape| {
        let digits_where_zeros_are =
            |(byte, shape): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
        name.len() > shape.len() && name.bytes().rev().zip(shape.bytes().rev()).all(digits_where_zeros_are)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_where_the_reply_states_one() {
        for (version, model, differs) in [
            ("2024-11-20", "gpt-4o-2024-11-20", false),
            ("2024-11-20", "gpt-4o-2024-08-06", true),
            ("2024-11-20", "gpt-4o", false),
            ("2024-11-20", "", false),
            ("2024-11-20", "-2024-08-06", false),
            ("2025-04-14", "gpt-4.1-mini-2025-04-14", false),
            ("11-20", "gpt-4o-2024-11-20", false),
            ("1-20", "gpt-4o-2024-11-20", true),
            ("0613", "gpt-35-turbo-0613", false),
            ("0613", "gpt-35-turbo-0125", true),
            ("0613", "gpt-35-turbo", false),
            ("turbo-2024-04-09", "gpt-4-turbo-2024-04-09", false),
            ("0125-Preview", "gpt-4-0125-preview", false),
            ("1106-Preview", "gpt-4-0125-preview", true),
            ("2024-11-20", "é-2024-08-06", true),
            ("a longer version than the name", "o1-2024-12-17", true),
        ] {
            let expects = |on_mismatch| ExpectedVersion { version: version.into(), on_mismatch };
            assert_eq!(expects(OnVersionMismatch::Alarm).differs_from(model), differs, "{version} {model}");
            assert_eq!(expects(OnVersionMismatch::Fail).refuses(model), differs, "{version} {model}");
            assert!(!expects(OnVersionMismatch::Alarm).refuses(model));
        }
    }
}

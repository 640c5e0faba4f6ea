//! Resolves references to secrets. What comes out never appears in a message.
use std::path::Path;

use secrecy::SecretString;

use super::{
    problem::Findings,
    value::{SecretRef, SecretSource},
};
use crate::secret::{Form, Secret};

/// Where references lead.
pub(super) struct Secrets<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    folder: &'a Path,
}

impl<'a> Secrets<'a> {
    /// Variables come from `env`, files are relative to `folder`.
    pub(super) fn new(env: &'a dyn Fn(&str) -> Option<String>, folder: &'a Path) -> Self {
        Self { env, folder }
    }

    /// One word, for whoever never reads it again.
    pub(super) fn word(&self, key: &str, from: &SecretRef, findings: &mut Findings<'_>) -> Option<SecretString> {
        self.resolve(key, from, Form::Word, findings).map(Secret::into_text)
    }

    /// The secret; `None`, told to `findings` under the name `key`, if there is none.
    pub(super) fn resolve(
        &self,
        key: &str,
        from: &SecretRef,
        form: Form,
        findings: &mut Findings<'_>,
    ) -> Option<Secret> {
        let found = match &from.source {
            SecretSource::Env(name) => match (self.env)(name) {
                Some(value) => Secret::fixed(&value, form).map_err(|problem| problem.to_string()),
                None => Err(format!("the environment variable `{name}` is not set")),
            },
            SecretSource::File(path) => {
                Secret::read(&self.folder.join(path), form).map_err(|problem| problem.to_string())
            }
            SecretSource::Literal => Err("secrets are not written into this file; refer to one with `{ env: NAME }` \
                                          or `{ file: PATH }`"
                .to_owned()),
        };
        found.map_err(|problem| findings.refuse(from.place, format!("{key}: {problem}"))).ok()
    }
}

//! Resolves references to secrets. What comes out never appears in a message.
use std::path::{Path, PathBuf};

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

    /// An environment variable that is set to something.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// A path of the file, which is relative to the configuration's folder.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
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

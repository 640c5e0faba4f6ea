//! Resolves references to secrets. What comes out never appears in a message.
use std::{fs, path::Path};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    problem::Findings,
    value::{SecretRef, SecretSource},
};

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

    /// The secret; `None`, told to `findings` under the name `key`, if there is none.
    pub(super) fn resolve(&self, key: &str, from: &SecretRef, findings: &mut Findings<'_>) -> Option<SecretString> {
        let found = match &from.source {
            SecretSource::Env(name) => {
                (self.env)(name).ok_or_else(|| format!("{key}: the environment variable `{name}` is not set"))
            }
            SecretSource::File(path) => fs::read_to_string(self.folder.join(path))
                .map_err(|reason| format!("{key}: cannot read the file `{path}`: {reason}")),
            SecretSource::Literal => Err(format!(
                "{key}: secrets are not written into this file; refer to one with `{{ env: NAME }}` or `{{ file: PATH }}`"
            )),
        };
        let secret = found.and_then(|text| {
            let secret = SecretString::from(text.trim());
            match secret.expose_secret() {
                "" => Err(format!("{key}: the secret that it refers to is empty")),
                text if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                    Err(format!("{key}: the secret that it refers to is not one word of printable ASCII characters"))
                }
                _ => Ok(secret),
            }
        });
        secret.map_err(|message| findings.refuse(from.place, message)).ok()
    }
}

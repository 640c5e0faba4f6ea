//! A secret and where it is kept, so that it can be read again when it changes. What it holds appears in no message.
use std::{
    fs,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

/// Larger files are no tokens, keys or certificates.
const LARGEST_FILE: u64 = 1 << 20;

/// What a secret must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One word of printable ASCII characters: a key or a token.
    Word,
    /// Any text that is not empty: PEM.
    Text,
}

/// A secret that has been read, white space around it removed.
#[derive(Clone, Debug)]
pub struct Secret {
    text: SecretString,
    origin: Origin,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    form: Form,
    file: Option<PathBuf>,
}

/// Why there is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the file `{}`: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        reason: std::io::Error,
    },
    /// The file is too large to be one.
    #[error("the file `{}` is larger than 1 MiB", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error("the secret that it refers to is empty")]
    Empty,
    /// A word was wanted.
    #[error("the secret that it refers to is not one word of printable ASCII characters")]
    NotAWord,
}

/// What became of secrets that were read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// What has changed and is used from now on.
    pub renewed: Vec<String>,
    /// What cannot be used as it is now, and why; what was there before stays in use.
    pub kept: Vec<String>,
}

impl Rotation {
    /// Notes one of them: whether it has changed, or why it cannot be used.
    pub fn add(&mut self, what: impl Into<String>, changed: Result<bool, impl std::fmt::Display>) {
        let what = what.into();
        match changed {
            Ok(true) => self.renewed.push(what),
            Ok(false) => {}
            Err(problem) => self.kept.push(format!("{what}: {problem}")),
        }
    }

    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.renewed.extend(other.renewed);
        self.kept.extend(other.kept);
        self
    }
}

impl Secret {
    /// One that never changes, such as the value of an environment variable.
    ///
    /// # Errors
    /// When it does not have the form.
    pub fn fixed(text: &str, form: Form) -> Result<Self, SecretError> {
        Ok(Self { text: check(text, form)?, origin: Origin { form, file: None } })
    }

    /// The content of a file.
    ///
    /// # Errors
    /// When it cannot be read or does not have the form.
    pub fn read(path: &Path, form: Form) -> Result<Self, SecretError> {
        let unreadable = |reason| SecretError::Unreadable { path: path.to_owned(), reason };
        if fs::metadata(path).map_err(unreadable)?.len() > LARGEST_FILE {
            return Err(SecretError::TooLarge { path: path.to_owned() });
        }
        let text = SecretString::from(fs::read_to_string(path).map_err(unreadable)?);
        let origin = Origin { form, file: Some(path.to_owned()) };
        Ok(Self { text: check(text.expose_secret(), form)?, origin })
    }

    /// The same secret as it is now; a fixed one is what it was.
    ///
    /// # Errors
    /// When it cannot be read any more or has lost its form.
    pub fn read_again(&self) -> Result<Self, SecretError> {
        Ok(self.origin.read()?.unwrap_or_else(|| self.clone()))
    }

    /// Where it comes from, for whoever wants to forget it and read it again later.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether both are the same secret, now and after every rotation: kept in the same file or, where they cannot
    /// change, holding the same.
    pub fn is_same_source(&self, other: &Self) -> bool {
        self.origin == other.origin && (self.origin.file.is_some() || self.same(other))
    }

    /// Whether both hold the same.
    pub fn same(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }

    /// The secret.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

impl Origin {
    /// What is there now; `None` if it cannot change.
    ///
    /// # Errors
    /// When it cannot be read any more or has lost its form.
    pub fn read(&self) -> Result<Option<Secret>, SecretError> {
        self.file.as_deref().map(|path| Secret::read(path, self.form)).transpose()
    }
}

fn check(text: &str, form: Form) -> Result<SecretString, SecretError> {
    match text.trim() {
        "" => Err(SecretError::Empty),
        word if form == Form::Word && !word.bytes().all(|byte| byte.is_ascii_graphic()) => Err(SecretError::NotAWord),
        text => Ok(text.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_its_form_and_is_never_shown() {
        for (text, form, expected) in [
            (" token\n", Form::Word, Ok("token")),
            ("two words", Form::Word, Err("not one word")),
            ("two\nlines\n", Form::Text, Ok("two\nlines")),
            (" \n", Form::Word, Err("is empty")),
            ("", Form::Text, Err("is empty")),
        ] {
            match (Secret::fixed(text, form), expected) {
                (Ok(secret), expected) => {
                    assert_eq!(Ok(secret.expose()), expected);
                    assert!(!format!("{secret:?}").contains("token"), "{secret:?}");
                }
                (Err(error), expected) => {
                    assert!(error.to_string().contains(expected.unwrap_err()), "{error}");
                    assert!(!error.to_string().contains("words"), "{error}");
                }
            }
        }
    }
}

//! Secrets: found in the environment or in files, never printed.
use std::fs;

use secrecy::SecretString;

use super::file::Secret;

/// The secret, or why there is none. The reason names the variable or path and never the content.
pub(super) fn find(secret: &Secret, environment: &dyn Fn(&str) -> Option<String>) -> Result<SecretString, String> {
    let (content, place) = match secret {
        Secret::Env(name) => {
            let value = environment(name).ok_or_else(|| format!("environment variable {name} is not set"))?;
            (value, format!("environment variable {name}"))
        }
        Secret::File(path) => {
            let value =
                fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            (value, path.display().to_string())
        }
    };
    let content = content.trim();
    if content.is_empty() {
        return Err(format!("{place} is empty"));
    }
    if !content.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{place} holds white space or characters that are not ASCII; a key or token has none"));
    }
    Ok(SecretString::from(content))
}

//! What is wrong with a configuration file: each problem with its place, all of them at once.
use std::{fmt, path::PathBuf};

use serde_saphyr::{Error as YamlError, Location};
use thiserror::Error;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        reason: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error(transparent)]
    Invalid(#[from] Problems),
}

/// Where something stands in the file; line 0 for a value that the file does not state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// In characters.
    pub width: usize,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self { line: number(location.line()), column: number(location.column()), width: number(location.span().len()) }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What, naming the key or the value.
    pub message: String,
    /// Where.
    pub place: Place,
    /// The line it stands on, secrets masked; empty if there is none.
    pub excerpt: String,
}

/// Everything that is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name.
    pub source_name: String,
    /// In the order of the file; never empty.
    pub list: Vec<Problem>,
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.list.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            let Place { line, column, width } = problem.place;
            write!(f, "{}", problem.message)?;
            if line == 0 {
                write!(f, "\n  --> {}", self.source_name)?;
                continue;
            }
            write!(f, "\n  --> {}:{line}:{column}", self.source_name)?;
            if problem.excerpt.is_empty() {
                continue;
            }
            let margin = " ".repeat(line.to_string().len());
            let before = " ".repeat(column.saturating_sub(1));
            let rest = problem.excerpt.chars().count().saturating_sub(column - 1).max(1);
            let under = "^".repeat(width.clamp(1, rest));
            write!(f, "\n{margin} |\n{line} | {}\n{margin} | {before}{under}", problem.excerpt)?;
        }
        Ok(())
    }
}

/// Collects problems and warnings while a file is checked.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    text: &'a str,
    source_name: &'a str,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(text: &'a str, source_name: &'a str) -> Self {
        Self { text, source_name, problems: vec![], warnings: vec![] }
    }

    /// Something that refuses the start.
    pub(super) fn refuse(&mut self, place: Place, message: impl Into<String>) {
        let excerpt = place.line.checked_sub(1).and_then(|at| self.text.lines().nth(at)).map(mask).unwrap_or_default();
        self.problems.push(Problem { message: message.into(), place, excerpt });
    }

    /// Something that looks wrong but can be served with.
    pub(super) fn warn(&mut self, place: Place, message: impl fmt::Display) {
        self.warnings.push(match place.line {
            0 => format!("{}: {message}", self.source_name),
            line => format!("{}:{line}: {message}", self.source_name),
        });
    }

    /// What the YAML reader or serde refused; nothing can be checked behind it.
    pub(super) fn refuse_yaml(&mut self, error: &YamlError) {
        let error = error.without_snippet();
        let mut place = error.location().map(Place::from).unwrap_or_default();
        let message = match error {
            YamlError::SerdeUnknownField { field, expected, .. } => {
                place.width = field.chars().count();
                format!("unknown key `{field}`{}", suggest(field, expected))
            }
            YamlError::SerdeMissingField { field, .. } => {
                place.width = 1;
                format!("the key `{field}` is missing here")
            }
            YamlError::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is given twice"),
            YamlError::NullIntoString { .. } => "a value is missing here".to_owned(),
            YamlError::Eof { .. } => "the file is empty".to_owned(),
            other => match self.indenting_tab() {
                Some(tab) => {
                    place = tab;
                    "a tab indents this line; YAML takes spaces only".to_owned()
                }
                None => {
                    let plain = serde_saphyr::render_options! { snippets: serde_saphyr::SnippetMode::Off };
                    without_place(other.render_with_options(plain))
                }
            },
        };
        self.refuse(place, message);
    }

    /// The reader tells of a tab at the value before it.
    fn indenting_tab(&self) -> Option<Place> {
        let mut lines = self.text.lines().enumerate();
        lines.find_map(|(at, line)| {
            let indent = line.split(|c: char| !c.is_whitespace()).next().unwrap_or_default();
            let column = indent.chars().position(|c| c == '\t')? + 1;
            Some(Place { line: at + 1, column, width: 1 })
        })
    }

    pub(super) fn clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The warnings, or everything that is wrong.
    pub(super) fn finish(self) -> Result<Vec<String>, Problems> {
        if self.problems.is_empty() { Ok(self.warnings) } else { Err(self.into_problems()) }
    }

    /// Everything that is wrong.
    pub(super) fn into_problems(mut self) -> Problems {
        self.problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
        Problems { source_name: self.source_name.to_owned(), list: self.problems }
    }
}

/// `, did you mean ...?`, or what there is to choose from.
pub(super) fn suggest(written: &str, known: &[impl AsRef<str>]) -> String {
    let likeness = |name: &str| strsim::jaro_winkler(&written.to_lowercase(), &name.to_lowercase());
    let best = known.iter().map(|name| (likeness(name.as_ref()), name.as_ref())).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((likeness, name)) if likeness > 0.8 => format!(", did you mean `{name}`?"),
        _ if known.is_empty() => String::new(),
        _ => {
            let names: Vec<_> = known.iter().map(|name| format!("`{}`", name.as_ref())).collect();
            format!("; there are {}", names.join(", "))
        }
    }
}

/// The reader's own messages end in their place, which the excerpt shows.
fn without_place(message: String) -> String {
    match message.find(" at line ") {
        Some(at) => message[..at].to_owned(),
        None => message,
    }
}

/// A line of the file, without what may be a secret: people do write keys where only references belong.
fn mask(line: &str) -> String {
    let mut masked = line.to_owned();
    for key in ["key:", "token:", "client_secret:", "auth:"] {
        let Some(at) = masked.find(key) else { continue };
        let value_at = at + key.len();
        let value = masked[value_at..].trim_start();
        if value.is_empty() || value.starts_with('{') {
            continue;
        }
        let from = masked.len() - value.len();
        let to = value.find([',', '}']).map_or(masked.len(), |end| from + end);
        masked.replace_range(from..to, "***");
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_masked() {
        for (line, expected) in [
            ("    auth: { api_key: sk-123 }", "    auth: { api_key: ***}"),
            ("    auth: { api_key: { env: KEY } }", "    auth: { api_key: { env: KEY } }"),
            ("  - { name: a, token: hunter2, policy: p }", "  - { name: a, token: ***, policy: p }"),
            ("    auth: sk-123", "    auth: ***"),
            ("    client_secret: hunter2", "    client_secret: ***"),
            ("  key: MIIE", "  key: ***"),
            ("    region: swedencentral", "    region: swedencentral"),
        ] {
            assert_eq!(mask(line), expected);
        }
    }

    #[test]
    fn near_names_are_suggested_and_far_ones_listed() {
        assert_eq!(suggest("regon", &["region", "boundary"]), ", did you mean `region`?");
        assert_eq!(suggest("zzz", &["region", "boundary"]), "; there are `region`, `boundary`");
    }
}

//! What is wrong with a file, where, and how it looks there.
use std::fmt;

use serde_saphyr::{Error, Location};

/// A configuration that cannot be used, with every problem that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// In the order of the file; never empty.
    pub problems: Vec<Problem>,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the operator named it.
    pub file: String,
    /// 1-based line; `None` where it concerns the file as a whole.
    pub line: Option<u64>,
    /// 1-based column.
    pub column: Option<u64>,
    /// What is wrong, and what to do.
    pub message: String,
    /// The lines around it, with a mark.
    pub snippet: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.message)?,
            _ => write!(f, "{}: {}", self.file, self.message)?,
        }
        if !self.snippet.is_empty() {
            write!(f, "\n{}", self.snippet)?;
        }
        Ok(())
    }
}

/// Collects problems of one file.
pub(super) struct Problems<'a> {
    file: &'a str,
    source: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(super) fn of(file: &'a str, source: &'a str) -> Self {
        Self { file, source, found: Vec::new() }
    }

    /// Notes one at a place.
    pub(super) fn at(&mut self, place: Location, message: impl Into<String>) {
        let (line, column) = (place.line(), place.column());
        let snippet = snippet(self.source, line, column);
        self.found.push(Problem {
            file: self.file.to_owned(),
            line: Some(line),
            column: Some(column),
            message: message.into(),
            snippet,
        });
    }

    /// Notes one that concerns the whole file.
    pub(super) fn overall(&mut self, message: impl Into<String>) {
        self.found.push(Problem {
            file: self.file.to_owned(),
            line: None,
            column: None,
            message: message.into(),
            snippet: String::new(),
        });
    }

    /// Notes that the file cannot be read at all.
    pub(super) fn unreadable(&mut self, error: &Error) {
        let message = message(error.without_snippet());
        match error.location() {
            Some(place) if !self.source.trim().is_empty() => self.at(place, message),
            _ => self.overall(message),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn into_error(mut self) -> ConfigError {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        ConfigError { problems: self.found }
    }
}

fn message(error: &Error) -> String {
    if let Error::SerdeUnknownField { field, expected, .. } = error {
        return match nearest(field, expected) {
            Some(known) => format!("unknown key `{field}`: did you mean `{known}`?"),
            None => format!("unknown key `{field}`: expected one of {}", expected.join(", ")),
        };
    }
    let text = error.to_string();
    // The place stands in front of the line already.
    let text = match text.split_once(": ") {
        Some((place, rest)) if place.starts_with("line ") => rest,
        _ => &text,
    };
    match text.split_once(" at line ") {
        Some((rest, _)) => rest.to_owned(),
        None => text.to_owned(),
    }
}

/// The known word that was probably meant.
pub(super) fn nearest<'w>(word: &str, known: &'w [impl AsRef<str>]) -> Option<&'w str> {
    let distances = known.iter().map(|known| (strsim::damerau_levenshtein(word, known.as_ref()), known.as_ref()));
    let (distance, known) = distances.min()?;
    (distance <= 1 + word.chars().count() / 4).then_some(known)
}

fn snippet(source: &str, line: u64, column: u64) -> String {
    let width = line.to_string().len();
    let shown = source.lines().enumerate().map(|(at, text)| (at as u64 + 1, text));
    let mut lines: Vec<String> = shown
        .filter(|(number, _)| (line.saturating_sub(2)..=line).contains(number))
        .map(|(number, text)| format!("{number:>width$} | {text}"))
        .collect();
    let indent = usize::try_from(column.saturating_sub(1)).unwrap_or_default();
    lines.push(format!("{:>width$} | {}^", "", " ".repeat(indent)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant() {
        let known = ["listen", "resources", "models"];
        assert_eq!(nearest("listne", &known), Some("listen"));
        assert_eq!(nearest("resource", &known), Some("resources"));
        assert_eq!(nearest("zzz", &known), None);
    }
}

//! What is to be embedded: a file of JSON lines, or of plain lines.
use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use anyhow::bail;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::journal::fingerprint;

/// Longest id that the service takes, in bytes.
const MAX_ID_BYTES: usize = 128;
/// No text of more bytes has 8192 tokens or fewer, and one much larger would not fit into a message.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Bad lines that are told one by one.
const TOLD_LINES: usize = 20;

/// One text to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// 1-based line of the input.
    pub(super) line: usize,
    /// Names its vector.
    pub(super) id: String,
    /// What is embedded.
    pub(super) text: String,
}

/// A file of texts.
#[derive(Clone, Debug)]
pub(super) struct Input {
    path: PathBuf,
    /// Each line is a text, and its number the id; otherwise a JSON object.
    plain: bool,
}

/// What a file holds that is still to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// All items.
    pub(super) items: usize,
    /// Those without a vector.
    pub(super) open_items: usize,
    /// Characters of those.
    pub(super) open_characters: u64,
    /// Tokens of those as Azure meters them: a quarter of the characters of each.
    pub(super) open_tokens: u64,
}

impl Contents {
    fn add_open(&mut self, text: &str) {
        let characters = text.chars().count() as u64;
        self.open_items += 1;
        self.open_characters += characters;
        self.open_tokens += characters.div_ceil(4);
    }
}

impl Input {
    /// `.txt` holds plain lines, everything else JSON lines.
    pub(super) fn new(path: &Path) -> Self {
        let plain = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt"));
        Self { path: path.to_owned(), plain }
    }

    /// Reads all of it once, before anything is sent.
    ///
    /// # Errors
    /// When the file cannot be read, or with every line (at first) that cannot be used.
    pub(super) fn survey(&self, finished: &HashMap<String, Option<String>>) -> anyhow::Result<Contents> {
        let mut contents = Contents::default();
        let mut line_of = HashMap::new();
        let mut bad = Vec::new();
        for item in self.items()? {
            let item = match item {
                Ok(item) => item,
                Err(Trouble::Line { line, why }) => {
                    bad.push((line, why));
                    continue;
                }
                Err(Trouble::Io(error)) => return Err(self.unreadable(error)),
            };
            contents.items += 1;
            match finished.get(&item.id) {
                None => contents.add_open(&item.text),
                Some(Some(before)) if *before != fingerprint(&item.text) => {
                    let why = "another text was embedded under its `id`: give it a new one, or begin another --out";
                    bad.push((item.line, why.to_owned()));
                }
                Some(_) => {}
            }
            if let Some(first) = line_of.insert(item.id, item.line) {
                bad.push((item.line, format!("has the id of line {first}")));
            }
        }
        if bad.is_empty() {
            return Ok(contents);
        }
        let mut told: Vec<_> = bad.iter().take(TOLD_LINES).map(|(line, why)| self.at(*line, why)).collect();
        if bad.len() > TOLD_LINES {
            told.push(format!("and {} more", bad.len() - TOLD_LINES));
        }
        told.push("nothing was sent; correct the input and run the same command".to_owned());
        bail!(told.join("\n"))
    }

    /// The items, read as they are asked for.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn items(&self) -> anyhow::Result<Items> {
        let file = File::open(&self.path).map_err(|error| self.unreadable(error))?;
        Ok(Items { reader: BufReader::new(file), line: 0, plain: self.plain })
    }

    /// For people: why the input cannot be used, with its place.
    pub(super) fn told(&self, trouble: Trouble) -> anyhow::Error {
        match trouble {
            Trouble::Line { line, why } => anyhow::Error::msg(self.at(line, &why)),
            Trouble::Io(error) => self.unreadable(error),
        }
    }

    fn at(&self, line: usize, why: &str) -> String {
        format!("{}:{line}: {why}", self.path.display())
    }

    fn unreadable(&self, error: io::Error) -> anyhow::Error {
        anyhow::Error::new(error).context(format!("--in {}", self.path.display()))
    }
}

/// Why there is no item.
#[derive(Debug)]
pub(super) enum Trouble {
    /// This line cannot be used. Never quotes the text.
    Line { line: usize, why: String },
    /// The file cannot be read on.
    Io(io::Error),
}

/// The items of a file. Empty lines are none.
#[derive(Debug)]
pub(super) struct Items {
    reader: BufReader<File>,
    line: usize,
    plain: bool,
}

impl Iterator for Items {
    type Item = Result<Item, Trouble>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut bytes = Vec::new();
            match self.reader.read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) => self.line += 1,
                Err(error) => return Some(Err(Trouble::Io(error))),
            }
            let line = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| self.line == 1).unwrap_or(&bytes);
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let item = item(line, self.line, self.plain).map_err(|why| Trouble::Line { line: self.line, why });
            return Some(item);
        }
    }
}

fn item(bytes: &[u8], line: usize, plain: bool) -> Result<Item, String> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| format!("is not UTF-8 at byte {}", error.valid_up_to() + 1))?;
    let (id, text) = if plain {
        (line.to_string(), text.trim_end_matches(['\n', '\r']).to_owned())
    } else {
        let no_object = |column: usize| format!("is no JSON object with `id` and `text` (column {column})");
        if !text.trim_start().starts_with('{') {
            // serde would take an array for one.
            return Err(no_object(1));
        }
        let object: Object<'_> = serde_json::from_str(text).map_err(|error| no_object(error.column()))?;
        (id_of(object.id)?, text_of(object.text)?)
    };
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(format!("`id` has {} bytes; it must have 1 to {MAX_ID_BYTES}", id.len()));
    }
    match text.len() {
        0 => Err("`text` is empty".to_owned()),
        long if long > MAX_TEXT_BYTES => Err(format!("`text` has {long} bytes; split it into chunks of 8192 tokens")),
        _ => Ok(Item { line, id, text }),
    }
}

/// One line; further fields are left alone.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

fn id_of(raw: Option<&RawValue>) -> Result<String, String> {
    let raw = raw.ok_or("has no `id`")?.get();
    // Many data sets number their rows.
    let number = || serde_json::from_str::<i64>(raw).map(|number| number.to_string());
    serde_json::from_str::<String>(raw).or_else(|_| number()).map_err(|_| "`id` is no string".to_owned())
}

fn text_of(raw: Option<&RawValue>) -> Result<String, String> {
    let raw = raw.ok_or("has no `text`")?.get();
    serde_json::from_str(raw).map_err(|_| "`text` is no string".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn json(line: &str) -> Result<(String, String), String> {
        item(line.as_bytes(), 7, false).map(|item| (item.id, item.text))
    }

    #[test]
    fn a_line_is_an_item_or_says_what_is_wrong_with_it() {
        let of = |id: &str, text: &str| Ok((id.to_owned(), text.to_owned()));
        for (line, expected) in [
            (r#"{"id":"a","text":"x","page":3}"#, of("a", "x")),
            (r#"{"id":42,"text":"\u00e4"}"#, of("42", "ä")),
            (r#"{"text":"x"}"#, Err("has no `id`")),
            (r#"{"id":"a"}"#, Err("has no `text`")),
            (r#"{"id":null,"text":"x"}"#, Err("has no `id`")),
            (r#"{"id":["a"],"text":"x"}"#, Err("`id` is no string")),
            (r#"{"id":"a","text":7}"#, Err("`text` is no string")),
            (r#"{"id":"a","text":""}"#, Err("`text` is empty")),
            (r#"{"id":"","text":"x"}"#, Err("`id` has 0 bytes; it must have 1 to 128")),
            (r#"{"id":"a","#, Err("is no JSON object with `id` and `text` (column 10)")),
            (r#"["a","x"]"#, Err("is no JSON object with `id` and `text` (column 1)")),
            ("secret", Err("is no JSON object with `id` and `text` (column 1)")),
        ] {
            assert_eq!(json(line), expected.map_err(str::to_owned), "{line}");
        }
        assert_eq!(item(b"{\"id\":\"\xff", 1, false).unwrap_err(), "is not UTF-8 at byte 8");
        let long = format!(r#"{{"id":"a","text":"{}"}}"#, "x".repeat(MAX_TEXT_BYTES + 1));
        assert_eq!(json(&long).unwrap_err(), "`text` has 1048577 bytes; split it into chunks of 8192 tokens");
    }

    #[test]
    fn a_plain_line_is_a_text_and_its_number_the_id() {
        assert_eq!(item("ä b \r\n".as_bytes(), 7, true), Ok(Item { line: 7, id: "7".into(), text: "ä b ".into() }));
    }
}

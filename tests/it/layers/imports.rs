//! Finds every path that Rust source names: `use` trees, and paths in the code. No full parser, but comments,
//! strings and `#[cfg(test)]` items are skipped properly.

/// One path, such as `["crate", "azure", "Azure"]`. `self` and `super` are resolved to `crate`; a `use` of a group
/// gives a path for each member.
#[derive(Debug, PartialEq)]
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// 1-based.
    pub(super) line: usize,
}

/// All paths in the source of the module at `module`, such as `["azure", "client"]`.
pub(super) fn imports(source: &str, module: &[&str]) -> Vec<Import> {
    let tokens = without_tests(tokens(&without_text(source)));
    let mut reader = Reader { tokens: &tokens, at: 0, found: Vec::new() };
    // Inline modules that the reader is in: their names, and the depth of braces at which each began.
    let (mut inline, mut depth): (Vec<(String, usize)>, usize) = (Vec::new(), 0);
    while let Some(token) = reader.peek() {
        let before = reader.found.len();
        match token.text.as_str() {
            "use" if reader.text(1) != "<" => {
                reader.at += 1;
                reader.use_tree(&[]);
            }
            "crate" if reader.at > 0 && tokens[reader.at - 1].text == "extern" => {
                reader.at += 1;
                reader.path();
            }
            "mod" if reader.text(2) == "{" => {
                inline.push((reader.text(1).to_owned(), depth));
                reader.at += 2;
            }
            "{" => {
                depth += 1;
                reader.at += 1;
            }
            "}" => {
                depth = depth.saturating_sub(1);
                inline.pop_if(|(_, began)| *began == depth);
                reader.at += 1;
            }
            _ if is_word(token) && (reader.text(1) == "::" || reader.text(1) == "!") => reader.path(),
            _ => reader.at += 1,
        }
        let here: Vec<&str> = module.iter().copied().chain(inline.iter().map(|(name, _)| name.as_str())).collect();
        for import in &mut reader.found[before..] {
            import.path = resolved(&import.path, &here);
        }
    }
    reader.found
}

/// `self` and `super` made absolute.
fn resolved(path: &[String], module: &[&str]) -> Vec<String> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let skipped = supers + usize::from(path[0] == "self");
    if skipped == 0 {
        return path.to_vec();
    }
    let climbed = path.iter().skip(usize::from(path[0] == "self")).take_while(|segment| *segment == "super").count();
    let base = &module[..module.len().saturating_sub(climbed)];
    let rest = path.iter().skip_while(|segment| *segment == "self" || *segment == "super");
    std::iter::once("crate".to_owned()).chain(base.iter().map(|s| (*s).to_owned())).chain(rest.cloned()).collect()
}

struct Token {
    text: String,
    line: usize,
}

fn is_word(token: &Token) -> bool {
    token.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    found: Vec<Import>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn text(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text.as_str())
    }

    /// `a::b::c` in the code.
    fn path(&mut self) {
        let line = self.tokens[self.at].line;
        let mut path = vec![self.text(0).to_owned()];
        self.at += 1;
        while self.text(0) == "::" && self.tokens.get(self.at + 1).is_some_and(is_word) {
            path.push(self.text(1).to_owned());
            self.at += 2;
        }
        self.found.push(Import { path, line });
    }

    /// `a::{b, c::*} as d`, after `prefix::`.
    fn use_tree(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        let mut line = self.peek().map_or(0, |token| token.line);
        while let Some(token) = self.peek() {
            match token.text.as_str() {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    while !matches!(self.text(0), "}" | "") {
                        self.use_tree(&path);
                        if self.text(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "as" => self.at += 2,
                "," | ";" | "}" => break,
                "self" if !path.is_empty() => self.at += 1,
                _ => {
                    line = token.line;
                    path.push(token.text.clone());
                    self.at += 1;
                }
            }
        }
        if !path.is_empty() {
            self.found.push(Import { path, line });
        }
    }
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = code.chars().peekable();
    while let Some(c) = rest.next() {
        let mut text = c.to_string();
        if c == '\n' {
            line += 1;
        }
        if c.is_whitespace() {
            continue;
        }
        if c.is_alphanumeric() || c == '_' {
            while let Some(next) = rest.next_if(|next| next.is_alphanumeric() || *next == '_') {
                text.push(next);
            }
        } else if c == ':' && rest.next_if_eq(&':').is_some() {
            text.push(':');
        }
        tokens.push(Token { text, line });
    }
    tokens
}

/// Leaves out what `#[cfg(test)]` marks.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().map(|token| token.text.as_str()).take(MARK.len()).eq(MARK) {
            at = end_of_item(&tokens, at + MARK.len());
        } else {
            kept.push(Token { text: tokens[at].text.clone(), line: tokens[at].line });
            at += 1;
        }
    }
    kept
}

/// Just past the item that begins at `at`: its semicolon, or the brace that closes its body.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_usize;
    let is_use = tokens[at..].iter().find(|token| token.text == "use" || token.text == "{");
    let ends_at_brace = is_use.is_none_or(|token| token.text != "use");
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && ends_at_brace {
                    break;
                }
            }
            ";" if depth == 0 => break,
            _ => {}
        }
    }
    at
}

/// The source with comments, strings and characters blanked; lines stay where they are.
fn without_text(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_text(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none begins there.
fn end_of_text(chars: &[char], at: usize) -> usize {
    let get = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match (get(at), get(at + 1)) {
        ('/', '/') => (at..chars.len()).find(|index| chars[*index] == '\n').unwrap_or(chars.len()),
        ('/', '*') => end_of_block_comment(chars, at),
        ('"', _) => end_of_quoted(chars, at, '"'),
        ('r', '"' | '#') if !in_word => end_of_raw_string(chars, at).unwrap_or(at),
        ('b' | 'c', 'r') if !in_word => end_of_raw_string(chars, at + 1).unwrap_or(at),
        // A character, not a lifetime: escaped, or closed right after one character.
        ('\'', '\\') => end_of_quoted(chars, at, '\''),
        ('\'', _) if get(at + 2) == '\'' => at + 3,
        _ => at,
    }
}

fn end_of_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match chars[at..chars.len().min(at + 2)] {
            ['/', '*'] => (depth, at) = (depth + 1, at + 2),
            ['*', '/'] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_quoted(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// `r"..."`, `r#"..."#` and so on; `None` for a raw identifier such as `r#type`.
fn end_of_raw_string(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let mut at = start + 1 + hashes;
    if chars.get(at) != Some(&'"') {
        return None;
    }
    at += 1;
    while at < chars.len() {
        let closed = chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        if closed {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(at)
}

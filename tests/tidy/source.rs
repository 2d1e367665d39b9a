//! Reads Rust source far enough for the rules: code without comments and text, where tests begin
//! and end, which paths are named. No more than a lexer, so that it needs no crate.

use std::fs;
use std::path::Path;

/// One file of the repository.
pub struct Source {
    /// From the repository's root, with `/`.
    pub path: String,
    pub text: String,
    /// `text` with comments, strings and characters blanked out; the same lines and columns.
    pub code: String,
    /// For each line of `code`, whether it belongs to tests only.
    is_test: Vec<bool>,
}

/// All files that rules look at.
pub struct Tree {
    pub files: Vec<Source>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { blank(text) } else { String::new() };
        let mut is_test = vec![path.starts_with("tests/"); code.lines().count() + 1];
        for (from, to) in test_items(&code) {
            (from..=to.min(is_test.len() - 1)).for_each(|line| is_test[line] = true);
        }
        Source { path: path.to_owned(), text: text.to_owned(), code, is_test }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub fn in_src(&self) -> bool {
        self.is_rust() && self.path.starts_with("src/")
    }

    /// Lines of code that run outside tests, with their numbers from 1.
    pub fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.lines().enumerate();
        lines.filter(|(i, _)| !self.is_test[*i]).map(|(i, line)| (i + 1, line))
    }

    pub fn is_test_line(&self, line: usize) -> bool {
        self.is_test.get(line - 1).copied().unwrap_or(false)
    }

    /// The modules with files of their own that `#[cfg(test)] mod name;` makes tests, as
    /// `store/checks`; also where `#[path = "checks.rs"]` names the file.
    fn test_modules(&self) -> Vec<String> {
        let beside = self.path.trim_start_matches("src/").rsplit_once('/').map_or("", |(d, _)| d);
        let texts: Vec<&str> = self.text.lines().collect();
        let mut found = Vec::new();
        for (line, code) in self.code.lines().enumerate().filter(|(line, _)| self.is_test[*line]) {
            let declared = code.trim().strip_prefix("mod ").and_then(|t| t.strip_suffix(';'));
            let Some(name) = declared else { continue };
            let before = line.checked_sub(1).map_or("", |above| texts[above].trim());
            let given = before.strip_prefix("#[path = \"").and_then(|t| t.strip_suffix(".rs\"]"));
            found.push(match given {
                Some(file) => format!("{beside}/{file}"),
                None => format!("{}/{name}", self.module().join("/")),
            });
        }
        found
    }

    /// `src/store/sled/open.rs` → `store`, `sled`, `open`; `mod.rs` stands for its directory.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').filter(|part| *part != "mod").collect()
    }
}

impl Tree {
    /// The repository at `root`, without what git ignores at its top.
    pub fn load(root: &Path) -> Self {
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
        let mut files = Vec::new();
        walk(root, root, &ignored, &mut files);
        Tree::of(files)
    }

    pub fn of(mut files: Vec<Source>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let of_tests: Vec<String> =
            files.iter().filter(|file| file.in_src()).flat_map(Source::test_modules).collect();
        for file in &mut files {
            let module = file.module().join("/");
            let inside = |test: &String| module == *test || module.starts_with(&format!("{test}/"));
            if of_tests.iter().any(inside) {
                file.is_test.fill(true);
            }
        }
        Tree { files }
    }

    pub fn rust(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.is_rust())
    }

    pub fn src(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.in_src())
    }
}

fn walk(root: &Path, dir: &Path, ignored: &[&str], files: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if name == ".git" || ignored.contains(&name.as_str()) {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            walk(root, &path, ignored, files);
        } else if kind.is_file() {
            // What is no text (weights, pictures) has no lines to judge.
            if let Ok(text) = fs::read_to_string(&path) {
                files.push(Source::new(&name, &text));
            }
        }
    }
}

/// Blanks comments, strings and character literals.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = at + literal_or_comment(&bytes[at..], bytes[..at].last().copied());
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How many bytes the comment or literal takes that starts here; 0 if none does.
fn literal_or_comment(rest: &[u8], before: Option<u8>) -> usize {
    let until = |end: &[u8], from: usize| {
        rest[from..].windows(end.len()).position(|w| w == end).map_or(rest.len(), |i| from + i)
    };
    match rest {
        [b'/', b'/', ..] => until(b"\n", 2),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest),
        [b'r', b'"' | b'#', ..] if !before.is_some_and(is_word) || before == Some(b'b') => {
            let hashes = rest[1..].iter().take_while(|&&b| b == b'#').count();
            if rest.get(1 + hashes) != Some(&b'"') {
                return 0;
            }
            let end = [b"\"".to_vec(), vec![b'#'; hashes]].concat();
            (until(&end, 2 + hashes) + end.len()).min(rest.len())
        }
        [b'\'', b'\\', ..] => (until(b"'", 3) + 1).min(rest.len()),
        [b'\'', tail @ ..] => {
            // A character is closed at once; a lifetime is not.
            let width = (1..=4).find(|&w| tail.get(w) == Some(&b'\''));
            let is_char =
                |w: usize| std::str::from_utf8(&tail[..w]).is_ok_and(|s| s.chars().count() == 1);
            width.filter(|&w| is_char(w)).map_or(0, |w| w + 2)
        }
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands by itself in `line`.
pub fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = line.as_bytes();
        let before = at.checked_sub(1).map(|i| bytes[i]);
        let after = bytes.get(at + word.len()).copied();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// First and last line (from 0) of every item under `#[cfg(test)]` or `#[test]`.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let line_of = |at: usize| code[..at].matches('\n').count();
    let mut items = Vec::new();
    for mark in ["#[cfg(test)]", "#[cfg(all(test", "#[test]"] {
        for (at, _) in code.match_indices(mark) {
            let end = item_end(code.as_bytes(), at + mark.len());
            items.push((line_of(at), line_of(end)));
        }
    }
    items
}

/// The `;` or closing `}` of the item that follows `from`.
pub fn item_end(code: &[u8], from: usize) -> usize {
    let (mut braces, mut others) = (0i32, 0i32);
    for (at, byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces <= 0 {
                    return at;
                }
            }
            b'(' | b'[' => others += 1,
            b')' | b']' => others -= 1,
            b';' if braces == 0 && others <= 0 => return at,
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

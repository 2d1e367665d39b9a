//! The rules of `design.md`, each a function from the tree to what is wrong in it.

use std::fmt;

use super::source::{Source, Tree, is_word, item_end, words};

/// The modules from the top of the layout to its bottom. A module may use only what stands above
/// it; `main` may use everything.
pub const LAYOUT: [&str; 24] = [
    "time",
    "ids",
    "event",
    "config",
    "film",
    "series",
    "engine",
    "ports",
    "telemetry",
    "wire",
    "store",
    "transport",
    "notify",
    "model",
    "drive",
    "predict",
    "replay",
    "metrics",
    "synth",
    "train",
    "evaluate",
    "edge",
    "http",
    "cli",
];

/// Modules that are functions of their arguments and of nothing else.
const PURE: [&str; 6] = ["engine", "series", "film", "event", "time", "ids"];

pub const MAX_COLUMNS: usize = 100;
pub const MAX_FILE_LINES: usize = 500;
pub const MAX_FUNCTION_LINES: usize = 70;

/// What a pure module must not name, and what it does instead.
const IMPURE: [(&str, &str); 16] = [
    ("tokio", "return an effect; only http, edge and signals are async"),
    ("burn", "emit RequestPrediction; networks live in model, predict and train"),
    ("rdkafka", "take a record as input; Kafka lives in transport/kafka"),
    ("sled", "emit puts and deletes; sled lives in store/sled"),
    ("std::fs", "take bytes as an argument; the caller reads the file"),
    ("std::net", "take bytes as an argument"),
    ("std::thread", "leave threads to the driver"),
    ("std::env", "take the setting as an argument"),
    ("Instant", "take time as an argument (EventTime or WallTime)"),
    ("SystemTime", "take time as an argument (EventTime or WallTime)"),
    ("Utc::now", "take time as an argument (EventTime or WallTime)"),
    ("Local::now", "take time as an argument (EventTime or WallTime)"),
    ("rand", "take the seed or the numbers as an argument"),
    ("rand_chacha", "take the seed or the numbers as an argument"),
    ("HashMap", "BTreeMap, or a Vec kept in order: hash order must not be seen"),
    ("HashSet", "BTreeSet, or a Vec kept in order: hash order must not be seen"),
];

/// Crates with one home.
const HOMES: [(&str, &[&str], &str); 4] = [
    ("rdkafka", &["transport/kafka"], "go through the ports, or add to transport/kafka"),
    ("sled", &["store/sled"], "go through StateStore, or add to store/sled"),
    ("burn", &["model", "train", "predict"], "go through Predictor, or add to model"),
    ("anyhow", &["cli", "main"], "an error enum of the layer with thiserror"),
];

/// One thing that is wrong, and what would be right.
pub struct Finding {
    pub path: String,
    pub line: usize,
    pub what: String,
    pub instead: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    instead: {}", self.path, self.line, self.what, self.instead)
    }
}

fn finding(file: &Source, line: usize, what: String, instead: &str) -> Finding {
    Finding { path: file.path.clone(), line, what, instead: instead.to_owned() }
}

/// A module uses only what stands above it.
pub fn direction(tree: &Tree) -> Vec<Finding> {
    let rank = |name: &str| LAYOUT.iter().position(|m| *m == name);
    let mut findings = Vec::new();
    for file in tree.src() {
        let module = file.module();
        let Some(own) = module.first().copied().and_then(rank) else { continue };
        for (line, used) in crate_paths(file) {
            match rank(&used) {
                Some(other) if other > own => findings.push(finding(
                    file,
                    line,
                    format!("{} uses {used}, which stands below it", LAYOUT[own]),
                    "move what is shared up, or hand it in as an argument or through a port",
                )),
                _ => {}
            }
        }
    }
    findings
}

/// The first module of every path from the crate's root, outside tests, and its line.
fn crate_paths(file: &Source) -> Vec<(usize, String)> {
    let depth = file.module().len();
    let mut code = String::new();
    for (i, line) in file.code.lines().enumerate() {
        code.push_str(if file.is_test_line(i + 1) { "" } else { line });
        code.push('\n');
    }
    let root = format!("{}x", "super::".repeat(depth)).trim_end_matches('x').to_owned();
    let mut paths = Vec::new();
    for start in ["crate::", root.as_str()] {
        for at in words(&code, start.trim_end_matches(':')) {
            let rest = &code[at..];
            if !rest.starts_with(start) || code[..at].ends_with("::") {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let tail = &rest[start.len()..];
            paths.extend(heads(tail).into_iter().map(|name| (line, name)));
        }
    }
    paths
}

/// `a::b` → `a`; `{a::b, c::{d, e}}` → `a`, `c`.
fn heads(tail: &str) -> Vec<String> {
    let head = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii() && is_word(*c as u8)).collect()
    };
    let Some(group) = tail.trim_start().strip_prefix('{') else { return vec![head(tail)] };
    let (mut depth, mut from, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(head(&group[from..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(head(&group[from..at]));
                from = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Pure modules read no clock, file, thread, network or random source, and no hash order.
pub fn purity(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.src().filter(|f| f.module().first().is_some_and(|m| PURE.contains(m))) {
        for (number, line) in file.product_lines() {
            for (token, instead) in IMPURE {
                let is_there = match token.strip_prefix("std::") {
                    Some(part) => names_std(line, part),
                    None => words(line, token).next().is_some(),
                };
                if is_there {
                    let what = format!("`{token}` in a pure module");
                    findings.push(finding(file, number, what, instead));
                }
            }
        }
    }
    findings
}

/// `std::fs`, also inside `use std::{fmt, fs}` on one line.
fn names_std(line: &str, part: &str) -> bool {
    let direct = format!("std::{part}");
    let grouped = line.split_once("std::{").is_some_and(|(_, group)| {
        words(group, part).any(|at| {
            let before = group[..at].trim_end();
            before.is_empty() || before.ends_with(',')
        })
    });
    words(line, &direct).next().is_some() || grouped
}

/// Crates that have one home are named nowhere else.
pub fn homes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.src() {
        let module = file.module().join("/");
        for (krate, homes, instead) in HOMES {
            if homes.iter().any(|home| module.starts_with(home)) {
                continue;
            }
            for (number, line) in file.product_lines() {
                if names_crate(line, krate) {
                    let what = format!("`{krate}` outside {}", homes.join(", "));
                    findings.push(finding(file, number, what, instead));
                }
            }
        }
    }
    findings
}

/// `use sled;`, `sled::open`, `::sled::open`: a path that starts with the crate. A module or a
/// variable of the same name is another thing.
fn names_crate(line: &str, krate: &str) -> bool {
    words(line, krate).any(|at| {
        let before = line[..at].trim_end();
        let after = line[at + krate.len()..].trim_start();
        let starts_path = !before.ends_with("::")
            || before.trim_end_matches("::").is_empty()
            || before.trim_end_matches("::").ends_with([' ', '(', '<', '&', '=', '{']);
        let is_use = before.ends_with("use") && after.starts_with([';', ':']);
        starts_path && (is_use || after.starts_with("::") || before.ends_with("extern crate"))
    })
}

/// Lines, files and functions that one can still read.
pub fn size(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for (i, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > MAX_COLUMNS {
                let what = format!("{columns} columns, more than {MAX_COLUMNS}");
                findings.push(finding(file, i + 1, what, "cargo fmt; break long text with `\\`"));
            }
        }
        let lines = file.text.lines().count();
        if lines > MAX_FILE_LINES {
            let what = format!("{lines} lines, more than {MAX_FILE_LINES}");
            findings.push(finding(file, lines, what, "split it by responsibility"));
        }
        for (line, name, length) in functions(&file.code) {
            if length > MAX_FUNCTION_LINES {
                let what = format!("fn {name} has {length} lines, more than {MAX_FUNCTION_LINES}");
                findings.push(finding(file, line, what, "give its steps names of their own"));
            }
        }
    }
    findings
}

/// Line, name and number of lines of every function with a body.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let line_of = |at: usize| code[..at].matches('\n').count() + 1;
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let name = heads(&code[at + 2..]).remove(0);
        if name.is_empty() {
            continue; // a function's type, not a function
        }
        let end = item_end(code.as_bytes(), at);
        if code.as_bytes()[end] == b'}' {
            found.push((line_of(at), name, line_of(end) + 1 - line_of(at)));
        }
    }
    found
}

/// Nothing unfinished, nothing hidden, and nothing that panics in place of an error.
pub fn finished(tree: &Tree) -> Vec<Finding> {
    const ANYWHERE: [(&str, &str); 4] = [
        (concat!("to", "do!"), "write it, or leave it out"),
        (concat!("unimple", "mented!"), "write it, or leave it out"),
        (concat!("#[ig", "nore"), "make the test quick, or print `skipped: ...` and return"),
        (concat!("allow(dead", "_code)"), "delete what nobody calls"),
    ];
    const IN_PRODUCT: [(&str, &str); 2] = [
        (".unwrap()", "`?` with an error that says what to do, or a type that cannot fail"),
        (".expect(", "`?` with an error that says what to do, or a type that cannot fail"),
    ];
    let mut findings = Vec::new();
    for file in tree.rust() {
        for (i, line) in file.code.lines().enumerate() {
            let is_product = file.in_src() && !file.is_test_line(i + 1);
            let product = IN_PRODUCT.iter().filter(|_| is_product);
            for (token, instead) in ANYWHERE.iter().chain(product) {
                if line.contains(token) {
                    findings.push(finding(file, i + 1, format!("`{token}`"), instead));
                }
            }
        }
    }
    findings
}

/// Every file says what it is for.
pub fn documented(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let first = file.text.lines().next().unwrap_or_default();
        if first.strip_prefix("//!").is_none_or(|doc| doc.trim().is_empty()) {
            let what = "starts without a `//!` doc".to_owned();
            findings.push(finding(file, 1, what, "say in a sentence what the file is for"));
        }
    }
    findings
}

/// Nothing that is true of one machine only.
pub fn portable(tree: &Tree) -> Vec<Finding> {
    const PATHS: [&str; 6] = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/wt"),
        concat!("/wo", "rk/main"),
        concat!("/wo", "rk/shared"),
    ];
    const HOSTS: [&str; 7] = [
        concat!("index.cra", "tes.io"),
        concat!("static.cra", "tes.io"),
        concat!("repo.ma", "ven"),
        concat!("repo1.ma", "ven"),
        concat!("py", "pi.org"),
        concat!("registry.n", "pmjs"),
        concat!("arti", "factory"),
    ];
    const LOCKED: &str = "registry+https://github.com/rust-lang/crates.io-index";
    let mut findings = Vec::new();
    for file in &tree.files {
        for (i, line) in file.text.lines().enumerate() {
            for path in PATHS.iter().filter(|path| line.contains(**path)) {
                let what = format!("`{path}` is a path of one machine");
                let instead = "a path from the manifest's directory, a setting or an argument";
                findings.push(finding(file, i + 1, what, instead));
            }
            for host in HOSTS.iter().filter(|host| line.contains(**host)) {
                let what = format!("`{host}` names a package registry");
                findings.push(finding(file, i + 1, what, "leave it to the client's own settings"));
            }
            let source = line.strip_prefix("source = ").filter(|_| file.path == "Cargo.lock");
            if source.is_some_and(|source| source.trim_matches('"') != LOCKED) {
                let what = format!("a dependency from elsewhere: {line}");
                findings.push(finding(file, i + 1, what, "a released crate of crates.io"));
            }
        }
    }
    findings
}

/// The layout list and the code name the same modules.
pub fn layout(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.src() {
        let Some(top) = file.module().first().copied() else { continue };
        if !LAYOUT.contains(&top) && !["lib", "main"].contains(&top) {
            let what = format!("module `{top}` is not in the layout");
            let instead = "put it where it belongs in design.md and in LAYOUT of tests/tidy";
            findings.push(finding(file, 1, what, instead));
        }
        if file.path != "src/lib.rs" {
            continue;
        }
        for (number, line) in file.product_lines() {
            let name = line.trim().trim_start_matches("pub ").strip_prefix("mod ");
            let Some(name) = name.map(|name| name.trim_end_matches(';')) else { continue };
            if !LAYOUT.contains(&name) {
                let what = format!("`mod {name}` is not in the layout");
                let instead = "put it where it belongs in design.md and in LAYOUT of tests/tidy";
                findings.push(finding(file, number, what, instead));
            }
        }
    }
    findings
}

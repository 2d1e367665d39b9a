//! Holds the code to the design: directions, bans, sizes and habits, checked with nothing but the
//! standard library. Each failure names file and line, and says what would be right.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::path::Path;

use rules::Finding;
use source::{Source, Tree};

/// Runs one rule over the repository.
fn hold(rule: fn(&Tree) -> Vec<Finding>) {
    let tree = Tree::load(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(tree.src().count() > 10, "the source was not found");
    let findings = rule(&tree);
    let list: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(list.is_empty(), "{} findings\n{}\n", list.len(), list.join("\n"));
}

#[test]
fn a_module_uses_only_what_stands_above_it() {
    hold(rules::direction);
}

#[test]
fn pure_modules_are_pure() {
    hold(rules::purity);
}

#[test]
fn crates_stay_in_their_homes() {
    hold(rules::homes);
}

#[test]
fn lines_files_and_functions_are_short() {
    hold(rules::size);
}

#[test]
fn nothing_is_unfinished_or_panics() {
    hold(rules::finished);
}

#[test]
fn every_file_says_what_it_is_for() {
    hold(rules::documented);
}

#[test]
fn nothing_belongs_to_one_machine() {
    hold(rules::portable);
}

#[test]
fn the_layout_names_every_module() {
    hold(rules::layout);
}

/// What `rule` finds in one planted file, as `line: what`.
fn planted(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
    let tree = Tree::of(vec![Source::new(path, text)]);
    rule(&tree).iter().map(|f| format!("{}: {}", f.line, f.what)).collect()
}

#[test]
fn finds_a_wrong_direction_however_it_is_written() {
    let of = |text| planted(rules::direction, "src/engine/window.rs", text);
    let wrong = ["1: engine uses store, which stands below it"];
    assert_eq!(of("use crate::store::Memory;"), wrong);
    assert_eq!(of("use crate::{ids::StayId, store::{a, b}, event::Fact};"), wrong);
    assert_eq!(of("fn f() { crate::store::open() }"), wrong);
    assert_eq!(of("use super::super::store::Memory;"), wrong);
    assert!(of("use crate::{ids::StayId, series::store};\nuse super::store;").is_empty());
    assert!(of("// crate::store\nconst A: &str = \"crate::store\";").is_empty());
    assert!(of("#[cfg(test)]\nmod tests {\n    use crate::store::Memory;\n}").is_empty());
    assert_eq!(planted(rules::direction, "src/ids.rs", "use super::wire::Id;").len(), 1);
    assert!(planted(rules::direction, "src/main.rs", "use crate::cli;").is_empty());
}

#[test]
fn finds_impurity_in_pure_modules_only() {
    let of = |text| planted(rules::purity, "src/series/grid.rs", text);
    assert_eq!(of("use std::fs::File;"), ["1: `std::fs` in a pure module"]);
    assert_eq!(of("use std::{fmt, fs};"), ["1: `std::fs` in a pure module"]);
    assert_eq!(of("\nlet m = HashMap::new();"), ["2: `HashMap` in a pure module"]);
    assert_eq!(of("let t = Instant::now();").len(), 1);
    assert_eq!(of("use rand::Rng;").len(), 1);
    assert!(of("struct Instants; let operand = 1; use std::{fmt, x::fs};").is_empty());
    assert!(planted(rules::purity, "src/store/sled/open.rs", "use std::fs;").is_empty());
}

#[test]
fn finds_a_crate_outside_its_home() {
    let of = |path, text| planted(rules::homes, path, text).len();
    assert_eq!(of("src/drive.rs", "use sled::Db;"), 1);
    assert_eq!(of("src/drive.rs", "fn f(db: &::sled::Db) {}"), 1);
    assert_eq!(of("src/drive.rs", "use anyhow;"), 1);
    assert_eq!(of("src/transport/local.rs", "type A = rdkafka::Offset;"), 1);
    assert_eq!(of("src/transport/kafka/lane.rs", "type A = rdkafka::Offset;"), 0);
    assert_eq!(of("src/store/sled/open.rs", "use sled::Db;"), 0);
    assert_eq!(of("src/store/sled.rs", "use sled::Db;"), 0);
    assert_eq!(of("src/store/mod.rs", "mod sled;\npub use self::sled::SledStore;"), 0);
    assert_eq!(of("src/cli/mod.rs", "use anyhow::Context;"), 0);
}

#[test]
fn finds_what_is_too_large() {
    let of = |text: &str| planted(rules::size, "src/drive.rs", text);
    assert_eq!(of(&"x".repeat(101)), ["1: 101 columns, more than 100"]);
    assert!(of(&"é".repeat(100)).is_empty());
    assert_eq!(of(&"\n".repeat(501)), ["501: 501 lines, more than 500"]);
    let function = |n| format!("type F = fn(u8);\nfn long(a: [u8; 2]) {{\n{}}}\n", "\n".repeat(n));
    assert!(of(&function(68)).is_empty());
    assert_eq!(of(&function(69)), ["2: fn long has 71 lines, more than 70"]);
    let braces = format!("fn a() {{ let _ = '{{'; let _ = \"}}\"; }}{}", "\n".repeat(80));
    assert!(of(&braces).is_empty());
}

#[test]
fn finds_the_unfinished_and_the_panicking() {
    let of = |path, text: &str| planted(rules::finished, path, text);
    for token in [concat!("to", "do!()"), concat!("#[ig", "nore]")] {
        assert_eq!(of("src/drive.rs", token).len(), 1);
        assert_eq!(of("tests/a.rs", token).len(), 1);
    }
    assert_eq!(of("src/drive.rs", "\nlet a = b.unwrap();"), ["2: `.unwrap()`"]);
    assert!(of("src/drive.rs", "let a = b.unwrap_or(1); // .unwrap()").is_empty());
    assert!(of("src/drive.rs", "#[cfg(test)]\nmod t {\n fn f() { a.unwrap() }\n}").is_empty());
    assert_eq!(of("src/drive.rs", "#[cfg(test)]\nmod t {}\nfn f() { a.expect(\"\") }").len(), 1);
    assert!(of("tests/a.rs", "a.unwrap()").is_empty());
}

#[test]
fn a_module_declared_for_tests_is_a_test_file() {
    let tree = |declared: &str| {
        Tree::of(vec![
            Source::new("src/store/mod.rs", declared),
            Source::new("src/store/checks.rs", "//! Checks.\nfn f() { a.unwrap() }"),
        ])
    };
    assert!(rules::finished(&tree("#[cfg(test)]\nmod checks;")).is_empty());
    assert!(rules::finished(&tree("#[cfg(test)]\n#[path = \"checks.rs\"]\nmod tests;")).is_empty());
    assert_eq!(rules::finished(&tree("mod checks;")).len(), 1);
}

#[test]
fn finds_missing_docs_machines_and_strangers() {
    assert_eq!(planted(rules::documented, "src/drive.rs", "//!\nfn a() {}").len(), 1);
    assert!(planted(rules::documented, "src/drive.rs", "//! The loop.").is_empty());
    let path = concat!("cp /ro", "ot/x y");
    assert_eq!(planted(rules::portable, "README.md", path).len(), 1);
    assert_eq!(planted(rules::portable, "a.toml", concat!("index.cra", "tes.io")).len(), 1);
    let lock = "source = \"registry+https://mirror.example/index\"";
    assert_eq!(planted(rules::portable, "Cargo.lock", lock).len(), 1);
    assert_eq!(planted(rules::layout, "src/lib.rs", "pub mod utils;").len(), 1);
    assert_eq!(planted(rules::layout, "src/utils.rs", "").len(), 1);
    assert!(planted(rules::layout, "src/lib.rs", "pub mod engine;").is_empty());
}

#[test]
fn text_and_comments_are_not_code() {
    let file =
        Source::new("src/a.rs", "let a = r#\"x\"y\"#; /* b /* c */ d */ 'q' 'life \"\\\"z\"");
    let left: Vec<&str> = file.code.split_whitespace().collect();
    assert_eq!(left, ["let", "a", "=", ";", "'life"]);
}

//! Golden journals: each file of `tests/engine/golden` is a script, its effects under every line.
//! `UPDATE_EXPECT=1 cargo test --release --test engine` rewrites them; read the diff.

use crate::support;

use std::fs;
use std::path::Path;

#[test]
fn golden_journals() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/golden");
    let mut paths: Vec<_> = fs::read_dir(&dir)
        .expect("tests/engine/golden")
        .map(|entry| entry.expect("a file").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no golden journals in {}", dir.display());
    let mut failed = Vec::new();
    for path in &paths {
        let expected = fs::read_to_string(path).expect("a readable journal");
        let got = support::script::play(&expected);
        if got == expected {
            continue;
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(path, &got).expect("a writable journal");
        } else {
            println!("--- {}\n{got}", path.display());
            failed.push(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    assert!(failed.is_empty(), "differ (UPDATE_EXPECT=1 rewrites): {failed:?}");
}

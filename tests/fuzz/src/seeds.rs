//! The first inputs of each target, written from the corpora of the ordinary tests.

use std::fs;
use std::path::Path;

/// Puts inputs where cargo-fuzz looks for those of a target, and beside them the words that its
/// format is made of, as libFuzzer's option `-dict` reads them.
pub fn plant(target: &str, inputs: &[Vec<u8>], words: impl IntoIterator<Item = impl AsRef<[u8]>>) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let dir = corpus.join(target);
    fs::create_dir_all(&dir).expect("tests/fuzz/corpus can be written");
    for (n, input) in inputs.iter().enumerate() {
        fs::write(dir.join(format!("seed-{n:02}")), input).expect("a seed can be written");
    }
    let line = |word: &[u8]| format!("\"{}\"\n", quoted(word));
    let lines: String = words.into_iter().map(|word| line(word.as_ref())).collect();
    fs::write(corpus.join(format!("{target}.dict")), lines).expect("a dictionary can be written");
}

/// As libFuzzer writes it: printable ASCII, and the rest in hexadecimal digits.
fn quoted(word: &[u8]) -> String {
    let byte = |byte: u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02X}"),
    };
    word.iter().map(|one| byte(*one)).collect()
}

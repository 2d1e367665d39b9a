//! The table of keys as a file to start from.

use super::{KEYS, SECTIONS};

/// The file that says every default, with every key explained. Reading it gives the defaults.
pub fn reference() -> String {
    let mut text = String::from(
        "# Every key of nowcxr's configuration, with its default.\n\
         # Precedence: this default, the file, the environment, flags. In the environment a key \
          is\n\
         # NOWCXR_SECTION__KEY, on the command line --set section.key=value.\n\
         # Times: 250ms, 30s, 15m, 1h, 90d, 1h30m. Sizes: 4096, 64KiB, 8MiB, 1GiB.\n",
    );
    for (section, about) in SECTIONS {
        text.push_str(&format!("\n# {about}\n[{section}]\n"));
        for key in KEYS.iter().filter(|key| key.section() == section) {
            for line in wrap(key.about, 96) {
                text.push_str(&format!("# {line}\n"));
            }
            text.push_str(&format!("{} = {}\n", key.name(), key.default));
        }
    }
    text
}

/// Lines of at most `width` characters, broken between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

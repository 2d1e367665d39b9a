//! What was written, and where: defaults, file, environment and flags laid over each other, key by
//! key. Unknown keys are found here; what the values mean is judged later.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use toml::{Table, Value};

use super::key::Key;
use super::keys::{KEYS, SECTIONS, find};
use super::spelling::meant;
use super::{ConfigError, Problem};

/// The most that a configuration file may have.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Default,
    File(String),
    /// The name of the variable.
    Environment(String),
    Flag,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Default => f.write_str("default"),
            Place::File(path) => f.write_str(path),
            Place::Environment(name) => f.write_str(name),
            Place::Flag => f.write_str("--set"),
        }
    }
}

/// The value of every key, from the last place that gave one.
pub struct Written {
    values: BTreeMap<&'static str, (Value, Place)>,
    pub problems: Vec<Problem>,
}

impl Written {
    /// `environment` holds names and values; only names that begin with `NOWCXR_` and have `__` in
    /// them are looked at. `flags` are `section.key=value`.
    pub fn gather(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[String],
    ) -> Result<Self, ConfigError> {
        let mut written = Written { values: BTreeMap::new(), problems: Vec::new() };
        for key in &KEYS {
            written.set_text(key, key.default, Place::Default);
        }
        if let Some(path) = file {
            let text = read(path)?;
            written.lay_file(&text, path)?;
        }
        let mut named: Vec<_> =
            environment.into_iter().filter_map(|(name, value)| key_of(&name, value)).collect();
        named.sort();
        for (name, path, value) in named {
            written.lay_one(&path, &value, Place::Environment(name));
        }
        for flag in flags {
            match flag.split_once('=') {
                Some((path, value)) => written.lay_one(path.trim(), value.trim(), Place::Flag),
                None => written.complain(flag, &Place::Flag, "write section.key=value"),
            }
        }
        Ok(written)
    }

    /// The value of a key and where it was written; `None` only for a key that is not in the table.
    pub fn get(&self, path: &str) -> Option<&(Value, Place)> {
        self.values.get(path)
    }

    fn lay_file(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let place = Place::File(path.display().to_string());
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            ConfigError::one("file", &place, format!("is not TOML: {}", error.message()))
        })?;
        for (section, content) in table {
            let Value::Table(content) = content else {
                self.complain(&section, &place, "stands outside a section; put it below [section]");
                continue;
            };
            for (name, value) in content {
                match find(&format!("{section}.{name}")) {
                    Some(key) => drop(self.values.insert(key.path, (value, place.clone()))),
                    None => self.unknown(&format!("{section}.{name}"), &place),
                }
            }
        }
        Ok(())
    }

    fn lay_one(&mut self, path: &str, text: &str, place: Place) {
        match find(path) {
            Some(key) => self.set_text(key, text, place),
            None => self.unknown(path, &place),
        }
    }

    /// A key of texts takes bare words; other values are TOML.
    fn set_text(&mut self, key: &Key, text: &str, place: Place) {
        let quoted = text.starts_with('"') || text.starts_with('\'');
        let value = if key.is_text() && !quoted {
            Ok(Value::String(text.to_owned()))
        } else {
            format!("value = {text}").parse::<Table>().map(|mut table| {
                table.remove("value").unwrap_or_else(|| Value::String(text.to_owned()))
            })
        };
        match value {
            Ok(value) => drop(self.values.insert(key.path, (value, place))),
            Err(_) => {
                let advice = format!("is not TOML; write it like {}", key.default);
                self.complain(key.path, &place, advice);
            }
        }
    }

    fn unknown(&mut self, path: &str, place: &Place) {
        let paths = KEYS.iter().map(|key| key.path);
        let name = path.rsplit('.').next().unwrap_or(path);
        let elsewhere = || KEYS.iter().find(|key| key.name() == name).map(|key| key.path);
        let advice = match meant(path, paths).or_else(elsewhere) {
            Some(meant) => format!("is unknown; did you mean {meant}?"),
            None => {
                let sections: Vec<&str> = SECTIONS.iter().map(|(section, _)| *section).collect();
                format!("is unknown; the sections are {}", sections.join(", "))
            }
        };
        self.complain(path, place, advice);
    }

    fn complain(&mut self, key: &str, place: &Place, what: impl Into<String>) {
        self.problems.push(Problem::new(key, place, what));
    }
}

/// `NOWCXR_ENGINE__ON_FILM` as (itself, `engine.on_film`, value); `None` for other variables.
fn key_of(name: &str, value: String) -> Option<(String, String, String)> {
    let (section, key) = name.strip_prefix("NOWCXR_")?.split_once("__")?;
    let path = format!("{}.{}", section.to_lowercase(), key.to_lowercase());
    Some((name.to_owned(), path, value))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let place = Place::File(path.display().to_string());
    let fail = |what: String| ConfigError::one("file", &place, what);
    let size = std::fs::metadata(path)
        .map_err(|error| fail(format!("cannot be read ({error}); give --config PATH")))?
        .len();
    if size > MAX_FILE_BYTES {
        return Err(fail(format!("has {size} bytes; a configuration has at most 1 MiB")));
    }
    std::fs::read_to_string(path)
        .map_err(|error| fail(format!("cannot be read ({error}); it must be a UTF-8 text file")))
}

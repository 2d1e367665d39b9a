//! One key of the configuration.

/// One key of the file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.name`.
    pub path: &'static str,
    /// The default as TOML. A text makes the key one of texts: the environment and flags need no
    /// quotes then.
    pub default: &'static str,
    /// What it does, as one or more sentences.
    pub about: &'static str,
}

/// A key of the table.
pub const fn key(path: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { path, default, about }
}

impl Key {
    /// The part before the dot.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(section, _)| section)
    }

    /// The part behind the dot.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// Whether its value is a text, so that a bare word will do outside the file.
    pub fn is_text(&self) -> bool {
        self.default.starts_with('"')
    }
}

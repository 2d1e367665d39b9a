//! The flags that every command has for its configuration, and who this node is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{Config, ConfigError};

/// Read when no `--config` is given and it lies in the working directory.
const DEFAULT_FILE: &str = "nowcxr.toml";

/// Where the configuration comes from.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// Configuration file; without it nowcxr.toml in the working directory, if there is one
    #[arg(long, global = true, value_name = "FILE", env = "NOWCXR_CONFIG")]
    pub config: Option<PathBuf>,
    /// Sets one key, for instance --set engine.every=30m; may be given several times
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

impl ConfigArgs {
    /// With `sets` as further values of `--set`, which win over those before.
    pub fn with(&self, sets: Vec<String>) -> Self {
        let mut settings = self.clone();
        settings.set.extend(sets);
        settings
    }

    /// The configuration from defaults, file, environment and flags; all errors at once.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        let file = self.config.as_deref().or_else(|| default.exists().then_some(default));
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
        Config::load(file, environment, &self.set)
    }
}

/// Every `--set` of a command line that was parsed, in order. Of a flag that stands before and
/// behind a subcommand clap keeps the latter alone, and a setting must not be lost without a word.
pub fn sets(words: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let mut sets = Vec::new();
    let mut words = words.into_iter().map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next().filter(|word| word != "--") {
        match word.strip_prefix("--set") {
            Some("") => sets.extend(words.next()),
            Some(joined) => sets.extend(joined.strip_prefix('=').map(str::to_owned)),
            None => {}
        }
    }
    sets
}

/// The name of this node: `telemetry.node`, else the host's.
pub fn node(config: &Config) -> String {
    let named = config.telemetry.node.clone().or_else(host_name);
    named.unwrap_or_else(|| "unnamed".to_owned())
}

/// `None` where there is no `/proc`.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_on_both_sides_of_a_subcommand_count() {
        let words = "nowcxr topics --set a=1 create --set=b=2 --settle --json --set c -- --set d";
        let found = sets(words.split(' ').map(OsString::from));
        assert_eq!(found, ["a=1", "b=2", "c"]);
        assert!(sets([OsString::from("--set")]).is_empty());
    }
}

//! The flags that every command has for its configuration, and who this node is.

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

//! Has a switch of `alerts.mode` written down, beside the states of the tasks.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cli::now;
use crate::cli::settings::node;
use crate::config::Config;
use crate::event::risk::Mode;
use crate::http::audit::{AuditError, AuditLog, mode_event, mode_told};

/// Writes down that the service starts in another mode than it was last started in; before the
/// first start it was silent.
///
/// # Errors
/// If the switch cannot be written down. Who changes nothing needs no log.
pub fn note(config: &Config) -> Result<()> {
    let (path, mode) = (log_of(config), config.alerts.mode);
    if mode == Mode::Silent && !path.exists() {
        return Ok(());
    }
    let shown = path.display();
    let unwritten =
        || format!("a switch of alerts.mode must be on record, in {shown}; move store.dir");
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(unwritten)?;
    }
    let log = match AuditLog::open(&path) {
        Err(AuditError::Taken(_)) => {
            tracing::warn!("{shown} is held by another process, which shares store.dir; it writes");
            return Ok(());
        }
        log => log.with_context(unwritten)?,
    };
    let told = log.events()?;
    let last = told.iter().find_map(mode_told).unwrap_or(Mode::Silent.name());
    if last != mode.name() {
        log.add(mode_event(last, mode, now(), &node(config)))?;
        let (from, to) = (last, mode.name());
        tracing::warn!(from, to, "alerts.mode is another from now on; {shown} has the record");
    }
    Ok(())
}

fn log_of(config: &Config) -> PathBuf {
    let mut path = config.store.dir.as_os_str().to_owned();
    path.push("-audit.jsonl");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_of_the_mode_is_on_record_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = format!("store.dir={}", dir.path().join("state").display());
        let start = |mode: &str| {
            let flags = [store.clone(), format!("alerts.mode={mode}")];
            let config = Config::load(None, [], &flags).expect("valid");
            note(&config).expect("room");
            std::fs::read_to_string(log_of(&config)).unwrap_or_default().lines().count()
        };
        let modes = ["silent", "silent", "passive", "passive", "interruptive", "silent", "silent"];
        assert_eq!(modes.map(start), [0, 0, 1, 1, 2, 3, 3]);
        let text = std::fs::read_to_string(dir.path().join("state-audit.jsonl")).expect("text");
        let said: Vec<bool> = ["silent and is passive", "interruptive and is silent"]
            .map(|words| text.contains(words))
            .to_vec();
        assert_eq!(said, [true, true], "{text}");
    }

    #[test]
    fn a_switch_that_cannot_be_written_down_is_none() {
        let flags = ["store.dir=/dev/null/state".to_owned(), "alerts.mode=passive".to_owned()];
        let config = Config::load(None, [], &flags).expect("valid");
        let error = format!("{:#}", note(&config).expect_err("no directory"));
        assert!(error.contains("must be on record"), "{error}");
    }
}

//! `[notify]`: the consumer of alerts and its channels. Nothing here changes a payload.

use std::fmt;
use std::time::Duration;

use super::value::Reader;

/// The checked settings. An empty target means that the channel is off.
#[derive(Clone, Debug, PartialEq)]
pub struct NotifyConfig {
    pub group: String,
    pub beds: usize,
    /// Alerts of risk per bed and day.
    pub budget: f64,
    /// `http://` URL.
    pub webhook: Option<String>,
    pub webhook_secret: Secret,
    /// `udp://host:port` or `tcp://host:port`.
    pub syslog: Option<String>,
    pub retry_max: Duration,
}

/// Something that must not be printed: itself, or `@` and the file that holds it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "hidden" })
    }
}

impl Secret {
    /// The secret, without the line end of a file; empty if there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn reveal(&self) -> std::io::Result<String> {
        match self.0.strip_prefix('@') {
            Some(path) => Ok(std::fs::read_to_string(path)?.trim_end().to_owned()),
            None => Ok(self.0.clone()),
        }
    }
}

pub fn notify(reader: &mut Reader) -> NotifyConfig {
    let config = NotifyConfig {
        group: reader.text("notify.group"),
        beds: reader.count("notify.beds", 1, 10_000),
        budget: reader.number("notify.budget", 0.0, 24.0),
        webhook: target(reader, "notify.webhook"),
        webhook_secret: Secret(reader.text("notify.webhook_secret")),
        syslog: target(reader, "notify.syslog"),
        retry_max: reader.duration("notify.retry_max", Duration::from_secs(1)),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if config.group.is_empty() || !config.group.chars().all(plain) {
        let what = "is no name; use letters, digits, _ - .";
        reader.complain("notify.group", what.to_owned());
    }
    if config.webhook.as_ref().is_some_and(|url| !url.starts_with("http://")) {
        let what = "is no http:// URL; let a relay on this machine do the TLS";
        reader.complain("notify.webhook", what.to_owned());
    }
    let known = |target: &String| ["udp://", "tcp://"].iter().any(|kind| target.starts_with(kind));
    if config.syslog.as_ref().is_some_and(|target| !known(target)) {
        reader.complain("notify.syslog", "is not udp://host:port or tcp://host:port".to_owned());
    }
    config
}

fn target(reader: &mut Reader, key: &str) -> Option<String> {
    Some(reader.text(key)).filter(|text| !text.is_empty())
}

//! `[notify]`: the consumer of alerts and its channels. Nothing here changes a payload.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lettre::Address;
use toml::Value;

use super::value::Reader;
use crate::time::Span;

/// Addresses that a mail can go to; what goes to more people goes to a list.
pub const RECIPIENTS_MAX: usize = 16;

/// The checked settings. An empty target means that the channel is off.
#[derive(Clone, Debug, PartialEq)]
pub struct NotifyConfig {
    pub group: String,
    pub beds: usize,
    /// Alerts of risk per bed and day.
    pub budget: f64,
    /// What was told longer ago disturbs nobody; `None` for no such limit.
    pub past: Option<Span>,
    /// `http://` URL.
    pub webhook: Option<String>,
    pub webhook_secret: Secret,
    /// `udp://host:port` or `tcp://host:port`.
    pub syslog: Option<String>,
    pub mail: Option<MailConfig>,
    pub retry_max: Duration,
}

/// Where mail goes, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub struct MailConfig {
    pub host: String,
    pub port: u16,
    pub security: MailSecurity,
    pub from: Address,
    /// At least one, at most [`RECIPIENTS_MAX`].
    pub to: Vec<Address>,
    /// Empty for no login.
    pub user: String,
    pub password: Secret,
    /// A PEM file of who signs the server's certificate; `None` for the authorities of the web.
    pub ca: Option<PathBuf>,
}

/// Whether mail goes within TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSecurity {
    Plain,
    /// From a command of the plain protocol on (RFC 3207). A server without it gets nothing.
    StartTls,
    /// From the first byte on (RFC 8314).
    Tls,
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
    pub(super) fn new(text: String) -> Self {
        Secret(text)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

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
        past: reader.span_or_off("notify.past", Span::MINUTE),
        webhook: target(reader, "notify.webhook"),
        webhook_secret: Secret::new(reader.text("notify.webhook_secret")),
        syslog: target(reader, "notify.syslog"),
        mail: mail(reader),
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

fn mail(reader: &mut Reader) -> Option<MailConfig> {
    let server = target(reader, "notify.mail_server");
    let (user, password) = (reader.text("notify.mail_user"), reader.text("notify.mail_password"));
    let ca = target(reader, "notify.mail_ca").map(PathBuf::from);
    let from = target(reader, "notify.mail_from");
    let to = reader.read("notify.mail_to", None, |value| recipients(value).map(Some));
    let names_nobody = to.as_ref().is_some_and(Vec::is_empty);
    let Some(server) = server else {
        if from.is_some() || !names_nobody || !user.is_empty() || ca.is_some() {
            let what = "is empty, but other keys of mail are set; name a server such as \
                        smtp://localhost:25";
            reader.complain("notify.mail_server", what.to_owned());
        }
        return None;
    };
    let place = match place(&server) {
        Ok(place) => Some(place),
        Err(what) => {
            reader.complain("notify.mail_server", what);
            None
        }
    };
    let is_plain = place.as_ref().is_some_and(|(security, ..)| *security == MailSecurity::Plain);
    if ca.is_some() && is_plain {
        let what = "is of no use without TLS; write smtp+starttls:// or smtps://";
        reader.complain("notify.mail_ca", what.to_owned());
    }
    if names_nobody {
        let what = "names nobody; list at least one address".to_owned();
        reader.complain("notify.mail_to", what);
    }
    if user.is_empty() != password.is_empty() {
        let what = "goes with notify.mail_password; set both or neither".to_owned();
        reader.complain("notify.mail_user", what);
    }
    let from = match address(from.as_deref().unwrap_or_default()) {
        Ok(from) => Some(from),
        Err(what) => {
            reader.complain("notify.mail_from", what);
            None
        }
    };
    let ((security, host, port), from, to) = (place?, from?, to?);
    Some(MailConfig { host, port, security, from, to, user, password: Secret::new(password), ca })
}

/// `scheme://host:port`; an IPv6 address stands in brackets.
fn place(server: &str) -> Result<(MailSecurity, String, u16), String> {
    let wrong = "is no server; write smtp://host:port, smtp+starttls://host:port or \
                 smtps://host:port";
    let (scheme, rest) = server.split_once("://").ok_or(wrong)?;
    let security = match scheme {
        "smtp" => MailSecurity::Plain,
        "smtp+starttls" => MailSecurity::StartTls,
        "smtps" => MailSecurity::Tls,
        _ => return Err(wrong.to_owned()),
    };
    if security != MailSecurity::Plain && !cfg!(feature = "https") {
        return Err("asks for TLS, which this build does not speak; build it with --features \
                    https, or name a relay on this machine by smtp"
            .to_owned());
    }
    let (host, port) = rest.rsplit_once(':').ok_or(wrong)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    match !host.is_empty() && host.chars().all(is_plain) {
        true => Ok((security, host.to_owned(), port)),
        false => Err(wrong.to_owned()),
    }
}

fn recipients(value: &Value) -> Result<Vec<Address>, String> {
    let list = value.as_array().ok_or("is not a list such as [\"icu@example.org\"]")?;
    if list.len() > RECIPIENTS_MAX {
        return Err(format!("names more than {RECIPIENTS_MAX} addresses; write to a list"));
    }
    let text = |value: &Value| address(value.as_str().unwrap_or_default());
    list.iter().map(text).collect()
}

/// ASCII only: what else an address may hold, not every server takes.
fn address(text: &str) -> Result<Address, String> {
    let wrong = || format!("has {text:?}, which is no address such as icu@example.org");
    let address = text.parse::<Address>().map_err(|_| wrong())?;
    if text.is_ascii() { Ok(address) } else { Err(wrong()) }
}

fn target(reader: &mut Reader, key: &str) -> Option<String> {
    Some(reader.text(key)).filter(|text| !text.is_empty())
}

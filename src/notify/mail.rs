//! A notice as mail, by SMTP (RFC 5321).
//!
//! Each recipient is given a message in a transaction of its own, so that an address that is
//! refused keeps no other from it. What was taken is not sent again while this process lives, and
//! the connection is closed after each message: alerts are rare.

use std::error::Error as _;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, SmtpTransport, Transport as _};

use super::NotifyError;
use super::dispatch::{Channel, DeliveryError};
use super::letter::letter;
use super::notice::Notice;
use crate::config::MailConfig;
use crate::ids::EventId;
use crate::time::WallTime;

/// For each step of a delivery.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of a server's words that are passed on.
const WORDS_MAX: usize = 200;
/// How rustls says that a certificate was not believed.
const CERTIFICATE: &str = "certificate";
const NAME: &str = "mail";

/// One server and those who are written to by it.
pub struct Mail {
    transport: SmtpTransport,
    from: Address,
    to: Vec<Address>,
    clock: fn() -> WallTime,
    under_way: Option<UnderWay>,
}

/// How far the delivery of one record has come.
struct UnderWay {
    event: EventId,
    /// As many as there are recipients.
    fates: Vec<Fate>,
}

#[derive(Clone)]
enum Fate {
    Waiting,
    Taken,
    Refused(String),
}

impl Mail {
    /// `node` is how this machine calls itself towards the server.
    ///
    /// # Errors
    /// If a file that the configuration names cannot be read.
    pub fn new(
        config: &MailConfig,
        node: &str,
        clock: fn() -> WallTime,
    ) -> Result<Self, NotifyError> {
        let mut builder = SmtpTransport::builder_dangerous(&config.host)
            .port(config.port)
            .timeout(Some(TIMEOUT))
            .hello_name(ClientId::Domain(hello(node, &config.from)));
        if !config.user.is_empty() {
            let password = config.password.reveal();
            let password = password.map_err(|error| {
                unusable(&format!("notify.mail_password cannot be read ({error})"))
            })?;
            builder = builder.credentials(Credentials::new(config.user.clone(), password));
        }
        #[cfg(feature = "https")]
        let builder = builder.tls(super::mail_tls::tls(config)?);
        let (from, to) = (config.from.clone(), config.to.clone());
        Ok(Mail { transport: builder.build(), from, to, clock, under_way: None })
    }

    /// Writes to one recipient.
    fn write(&self, notice: &Notice, to: &Address) -> Result<(), DeliveryError> {
        let broken = |why: String| DeliveryError::Refused(why);
        let message = letter(notice, &self.from, to, (self.clock)());
        let message = message.map_err(|error| broken(format!("no mail can be made: {error}")))?;
        let envelope = Envelope::new(Some(self.from.clone()), vec![to.clone()]);
        let envelope = envelope.map_err(|error| broken(error.to_string()))?;
        self.transport.send_raw(&envelope, &message.formatted()).map_err(|e| failed(&e)).map(drop)
    }
}

impl Channel for Mail {
    fn name(&self) -> &'static str {
        NAME
    }

    fn wants(&self, notice: &Notice) -> bool {
        notice.is_shown()
    }

    fn deliver(&mut self, notice: &Notice) -> Result<(), DeliveryError> {
        let event = notice.record.event_id;
        let begun = self.under_way.take().filter(|under_way| under_way.event == event);
        let mut fates = begun.map_or_else(|| vec![Fate::Waiting; self.to.len()], |b| b.fates);
        let mut later = None;
        for (to, fate) in self.to.iter().zip(&mut fates) {
            if !matches!(fate, Fate::Waiting) {
                continue;
            }
            match self.write(notice, to) {
                Ok(()) => *fate = Fate::Taken,
                Err(DeliveryError::Refused(why)) => *fate = Fate::Refused(why),
                Err(DeliveryError::Retry(why)) => later = Some(why),
            }
        }
        if let Some(why) = later {
            self.under_way = Some(UnderWay { event, fates });
            return Err(DeliveryError::Retry(why));
        }
        let refused: Vec<&String> = fates.iter().filter_map(Fate::refused).collect();
        match refused.first() {
            None => Ok(()),
            Some(why) => Err(DeliveryError::Refused(format!(
                "{} of {} recipients were refused: {why}; check notify.mail_to and the other keys \
                 of mail",
                refused.len(),
                fates.len(),
            ))),
        }
    }
}

impl Fate {
    fn refused(&self) -> Option<&String> {
        match self {
            Fate::Refused(why) => Some(why),
            Fate::Waiting | Fate::Taken => None,
        }
    }
}

/// 5xx, and a server that lacks what is asked for, must be mended. Everything else may pass.
fn failed(error: &Error) -> DeliveryError {
    let words = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let words: String = words.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect();
    match error.status() {
        Some(code) if error.is_permanent() => {
            DeliveryError::Refused(format!("the mail server answered {code} {words}"))
        }
        Some(code) => DeliveryError::Retry(format!("the mail server answered {code} {words}")),
        None if error.is_client() => DeliveryError::Refused(words),
        None if words.contains(CERTIFICATE) => DeliveryError::Retry(format!(
            "the mail server shows a certificate that is not believed ({words}); see notify.mail_ca"
        )),
        None => DeliveryError::Retry(format!("the mail server cannot be reached: {words}")),
    }
}

/// The node's name if it can stand in a command, else the sender's domain.
fn hello(node: &str, from: &Address) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    match !node.is_empty() && node.chars().all(is_plain) {
        true => node.to_owned(),
        false => from.domain().to_owned(),
    }
}

pub(super) fn unusable(why: &str) -> NotifyError {
    NotifyError::Channel { channel: NAME, why: why.to_owned() }
}

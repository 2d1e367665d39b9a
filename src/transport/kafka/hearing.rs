//! What a client hears from librdkafka about itself, and above all that it is not let in.
//!
//! A call that fails because the cluster does not know the user says no more than that no broker
//! answered in time. Why comes by another way, as an error of the client as a whole, and only to
//! whoever polls: an [`rdkafka::admin::AdminClient`] never does, so the first question to a cluster
//! is an [`super::inquiry::Inquiry`]'s.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::client::log_line;
use super::error::advice;
use super::settings::KafkaSettings;
use super::token;
use crate::config::TokenPlace;
use crate::ports::PortError;

/// How librdkafka says that a certificate was not believed.
const DISTRUST: &str = "certificate verify failed";

/// The context of a client, and a part of those that have more to do.
#[derive(Default)]
pub(super) struct Hearing {
    last: Mutex<Option<(Code, String)>>,
    token: Option<TokenPlace>,
}

impl Hearing {
    pub fn of(settings: &KafkaSettings) -> Self {
        Hearing { last: Mutex::default(), token: settings.token.clone() }
    }

    /// What librdkafka asks whoever polls a client under SASL/OAUTHBEARER.
    pub fn token(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let place = self.token.as_ref().ok_or("set kafka.token")?;
        Ok(token::fresh(place)?)
    }

    /// Takes note of an error of the client as a whole. Others than a refusal also reach the caller
    /// of whatever they make fail, so they are only written down.
    pub fn note(&self, error: &KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
        // As librdkafka connects, the same failure comes under the code of a lost connection.
        let code = match reason.contains(DISTRUST) {
            true => Some(Code::SSL),
            false => error.rdkafka_error_code().filter(|&code| is_refusal(code)),
        };
        if let Some(code) = code {
            *self.last() = Some((code, reason.to_owned()));
        }
    }

    /// A call has succeeded, so what was heard before is of the past.
    pub fn forget(&self) {
        *self.last() = None;
    }

    /// Why the cluster does not let this client in, if it has said so. It stays so until a person
    /// has acted.
    pub fn refusal(&self) -> Option<PortError> {
        let last = self.last();
        let (code, reason) = last.as_ref()?;
        let advice = advice(*code).unwrap_or_default();
        Some(PortError::Stop(format!("kafka does not let us in: {reason}; {advice}")))
    }

    /// `failed`, or the refusal that is its reason.
    pub fn explain(&self, failed: PortError) -> PortError {
        self.refusal().unwrap_or(failed)
    }

    /// Whether it is the broker's certificate that was not believed.
    pub fn is_distrust(&self) -> bool {
        self.last().as_ref().is_some_and(|(_, reason)| reason.contains(DISTRUST))
    }

    fn last(&self) -> MutexGuard<'_, Option<(Code, String)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that breaks off while it is being made is none of these.
fn is_refusal(code: Code) -> bool {
    matches!(code, Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL)
}

impl ClientContext for Hearing {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.token()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(&error, reason);
    }
}

impl ConsumerContext for Hearing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_explains_what_fails_until_something_succeeds() {
        let hearing = Hearing::default();
        let failed = || PortError::Retry("no broker".to_owned());
        hearing.note(&KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
        assert!(matches!(hearing.explain(failed()), PortError::Retry(_)));
        hearing.note(&KafkaError::Global(Code::Authentication), "Invalid username or password");
        hearing.note(&KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
        let told = hearing.explain(failed());
        assert!(matches!(told, PortError::Stop(_)));
        let text = told.to_string();
        assert!(text.contains("Invalid username") && text.contains("kafka.secrets"), "{text}");
        hearing.forget();
        assert!(matches!(hearing.explain(failed()), PortError::Retry(_)));
    }
}

//! A notice as a signed POST request.
//!
//! The body is JSON. `Nowcxr-Event-Id` names the record, the same however often it is sent.
//! `Nowcxr-Signature: t=MS,v1=HEX` holds the time of sending in milliseconds and the HMAC-SHA256
//! (RFC 2104) of `MS.BODY` under the shared secret: a receiver computes it anew, compares without
//! leaking time, and refuses what is older than some minutes, so that nothing can be played back.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::dispatch::{Channel, DeliveryError};
use super::notice::Notice;
use crate::time::WallTime;

/// The header that holds the signature.
pub const SIGNATURE: &str = "Nowcxr-Signature";
pub(super) const EVENT_ID: &str = "Nowcxr-Event-Id";
/// For the whole of one delivery.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One receiver.
pub struct Webhook {
    url: String,
    secret: Vec<u8>,
    agent: ureq::Agent,
    clock: fn() -> WallTime,
}

impl Webhook {
    /// `secret` signs; an empty one leaves the signature out.
    pub fn new(url: &str, secret: &str, clock: fn() -> WallTime) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            // An alert goes where it was configured to go, and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("nowcxr/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = ureq::Agent::new_with_config(config);
        Webhook { url: url.to_owned(), secret: secret.as_bytes().to_vec(), agent, clock }
    }
}

impl Channel for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn wants(&self, notice: &Notice) -> bool {
        notice.is_shown()
    }

    fn deliver(&mut self, notice: &Notice) -> Result<(), DeliveryError> {
        let body = notice.json().to_string();
        let mut request = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header(EVENT_ID, notice.record.event_id.to_string());
        if !self.secret.is_empty() {
            let sent = (self.clock)();
            request = request.header(SIGNATURE, signature(&self.secret, sent, body.as_bytes()));
        }
        let response = request.send(&body).map_err(|error| failed(&error))?;
        match response.status().as_u16() {
            200..=299 => Ok(()),
            // It asks for patience, or is out of order.
            code @ (408 | 425 | 429 | 500..=599) => {
                Err(DeliveryError::Retry(format!("the webhook answered {code}")))
            }
            code => Err(DeliveryError::Refused(format!(
                "the webhook answered {code}; check notify.webhook and its secret"
            ))),
        }
    }
}

fn failed(error: &ureq::Error) -> DeliveryError {
    match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            DeliveryError::Refused(format!("{error}; correct notify.webhook"))
        }
        error => DeliveryError::Retry(format!("the webhook cannot be reached: {error}")),
    }
}

/// The value of [`SIGNATURE`] for a body that is sent at `sent`.
pub fn signature(secret: &[u8], sent: WallTime, body: &[u8]) -> String {
    let ms = sent.as_millis();
    let mut text = format!("t={ms},v1=");
    // HMAC takes a key of any length, so this never fails.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) {
        mac.update(format!("{ms}.").as_bytes());
        mac.update(body);
        for byte in mac.finalize().into_bytes() {
            text.push_str(&format!("{byte:02x}"));
        }
    }
    text
}

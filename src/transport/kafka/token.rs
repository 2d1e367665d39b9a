//! The token of SASL/OAUTHBEARER: whoever polls a client is asked for it, at first and before it
//! expires, and reads it anew each time, so that a file can be replaced while the service runs.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

use crate::config::TokenPlace;

/// A token that does not say when it expires is read again after some of this time.
const LIFETIME_MS: i64 = 600_000;

/// What a JSON web token says of itself. Who checks it is the broker; we need to know when to ask
/// for the next one.
#[derive(Default, Deserialize)]
struct Claims {
    sub: Option<String>,
    /// Seconds since 1970; some issuers write fractions.
    exp: Option<f64>,
}

/// The token as it is now.
///
/// # Errors
/// What a person must mend; never the token.
pub(super) fn fresh(place: &TokenPlace) -> Result<OAuthToken, String> {
    let token = place.read().map_err(|why| format!("kafka.token {why}"))?;
    let claims = claims(&token).unwrap_or_default();
    let expires = claims.exp.map(|seconds| (seconds * 1e3) as i64);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    if expires.is_some_and(|at| at <= now) {
        return Err("the token of kafka.token has expired; put a new one in its place".to_owned());
    }
    Ok(OAuthToken {
        principal_name: claims.sub.unwrap_or_default(),
        lifetime_ms: expires.unwrap_or(now.saturating_add(LIFETIME_MS)),
        token,
    })
}

/// `None` for a token that is no JSON web token: its content is its issuer's.
fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn of(text: &str) -> Result<OAuthToken, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        fresh(&TokenPlace::File(file.path().to_owned()))
    }

    fn signed(claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(claims))
    }

    #[test]
    fn a_token_says_who_it_is_and_when_it_expires() {
        let text = signed(r#"{"sub":"nowcxr","exp":9999999999.5}"#);
        let token = of(&text).unwrap();
        assert_eq!(
            (token.principal_name.as_str(), token.lifetime_ms),
            ("nowcxr", 9_999_999_999_500)
        );
        assert_eq!(token.token, text);
    }

    #[test]
    fn one_that_says_nothing_is_read_again_and_one_that_has_expired_is_not_told() {
        for text in ["opaque", "a.b.c"] {
            assert!(of(text).unwrap().lifetime_ms > LIFETIME_MS);
        }
        let text = signed(r#"{"sub":"nowcxr","exp":1}"#);
        let why = of(&text).map(|token| token.lifetime_ms).unwrap_err();
        assert!(why.contains("has expired") && !why.contains(&text), "{why}");
        let why = of("").map(|token| token.lifetime_ms).unwrap_err();
        assert!(why.contains("kafka.token names") && why.contains("is empty"), "{why}");
    }
}

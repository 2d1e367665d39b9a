//! What a request shows of who sends it: a token, an address, a host.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::access::Refusal;
use super::bounded::Peer;

/// The cookie that holds a browser's token.
pub const COOKIE: &str = "nowcxr_token";

/// The status of a refusal.
pub const fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoToken | Refusal::Unknown => StatusCode::UNAUTHORIZED,
        Refusal::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Broken(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Says in the answer's headers what the sender may do about a refusal.
pub fn advise(headers: &mut HeaderMap, refusal: &Refusal) {
    match refusal {
        Refusal::NoToken | Refusal::Unknown => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Refusal::TooMany(wait) => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        Refusal::Broken(_) => {}
    }
}

/// Where the request comes from; without a connection, as in tests, from nowhere.
pub fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.0.ip())
}

/// The token of a request: a program's header, or a browser's cookie.
pub fn shown(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(bearer) = bearer {
        let (scheme, token) = bearer.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, token)| token)
}

/// Whether the request was sent to one of this machine's own names. Another site that points its
/// name at this address (DNS rebinding) is told apart by it.
pub fn is_for_this_machine(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        ["localhost", "127.0.0.1", "[::1]"].contains(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_header_and_cookie() {
        let headers = |name: header::HeaderName, value: &str| {
            HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a header"))])
        };
        let bearer = headers(header::AUTHORIZATION, "bearer  abc ");
        assert_eq!(shown(&bearer), Some("abc"));
        assert_eq!(shown(&headers(header::AUTHORIZATION, "Basic abc")), None);
        assert_eq!(shown(&headers(header::COOKIE, "a=1; nowcxr_token=abc; b")), Some("abc"));
        assert_eq!(shown(&headers(header::COOKIE, "xnowcxr_token=abc")), None);
        assert_eq!(shown(&HeaderMap::new()), None);
    }
}

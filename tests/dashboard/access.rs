//! Who is let in to what, how browsers sign in, and that every look at a stay is written down.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nowcxr::http::access::{Access, MAX_FAILED, Role, mint};
use nowcxr::http::audit::{AuditLog, verify};
use nowcxr::http::dashboard::{Acts, Looks};
use nowcxr::ids::Digest;
use serde_json::Value;

use super::site::{Site, ask, site, site_for};

pub const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const PAGE: (&str, &str) = ("Accept", "text/html");

/// A site with one token for each role.
pub struct Guarded {
    pub site: Site,
    dir: tempfile::TempDir,
    tokens: Vec<(Role, String)>,
}

pub fn guarded_with(audit: impl Fn(&Path) -> PathBuf, acts: Option<Arc<dyn Acts>>) -> Guarded {
    let dir = tempfile::tempdir().expect("a directory");
    let tokens: Vec<(Role, String)> =
        Role::ALL.into_iter().map(|role| (role, mint().expect("random"))).collect();
    let lines: String = tokens
        .iter()
        .map(|(role, token)| format!("{role}-1 {role} {}\n", Digest::of(token.as_bytes())))
        .collect();
    let file = dir.path().join("tokens");
    std::fs::write(&file, lines).expect("written");
    let log = AuditLog::open(&audit(dir.path())).expect("a log");
    let looks = Looks { log, node: "icu-2".to_owned() };
    let site = site_for(Access::tokens(&file).expect("valid"), Some(looks), acts);
    Guarded { site, dir, tokens }
}

fn guarded() -> Guarded {
    guarded_with(|dir| dir.join("audit.jsonl"), None)
}

impl Guarded {
    pub fn address(&self) -> SocketAddr {
        self.site.address
    }

    pub fn token(&self, role: Role) -> &str {
        let found = self.tokens.iter().find(|(whose, _)| *whose == role);
        found.map(|(_, token)| token.as_str()).expect("each role has one")
    }

    /// Status of `path` for a program with the role's token.
    fn status(&self, role: Role, path: &str) -> u16 {
        let bearer = format!("Bearer {}", self.token(role));
        let headers = [("Host", "icu.example:8080"), ("Authorization", bearer.as_str())];
        status(&ask(self.address(), &format!("GET {path}"), &headers, ""))
    }

    /// Who, stay, what and outcome of every look, in order.
    pub fn looks(&self) -> Vec<(String, String, String, String)> {
        let text = std::fs::read_to_string(self.dir.path().join("audit.jsonl")).expect("a log");
        verify(text.as_bytes(), None).expect("a whole chain");
        let look = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let at = |pointer: &str| {
                line.pointer(pointer).and_then(Value::as_str).expect(pointer).to_owned()
            };
            (
                at("/event/agent/2/who/identifier/value"),
                at("/event/entity/0/what/identifier/value"),
                at("/event/entity/0/description"),
                at("/event/outcome"),
            )
        };
        text.lines().map(look).collect()
    }
}

pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

pub fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let lines = answer.lines().take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_once(": ")).find(|(n, _)| *n == name).map(|(_, v)| v)
}

#[test]
fn each_role_sees_its_pages_and_no_more() {
    use Role::{Admin, Clinician, Viewer};
    let site = guarded();
    let pages = [
        ("/ward", Viewer),
        ("/operations", Viewer),
        ("/model", Viewer),
        ("/stay/1", Clinician),
        ("/stay/1/provenance.json", Clinician),
        ("/audit", Admin),
    ];
    for (path, least) in pages {
        for role in Role::ALL {
            let wanted = if role >= least { 200 } else { 403 };
            assert_eq!(site.status(role, path), wanted, "{path} for a {role}");
        }
        let without = ask(site.address(), &format!("GET {path}"), &[("Host", "x")], "");
        assert_eq!(status(&without), 401, "{path} without a token");
        assert_eq!(header(&without, "www-authenticate"), Some("Bearer"));
        assert!(!without.contains("Stay"), "{without}");
    }
    for path in ["/nothing", "/stay/1/film/5", "/stay/2"] {
        assert_eq!(site.status(Clinician, path), 404, "{path}");
        assert_eq!(status(&ask(site.address(), &format!("GET {path}"), &[], "")), 401, "{path}");
    }
    assert_eq!(site.status(Viewer, "/live?stay=1"), 403);
    for path in ["/login", "/assets/dashboard.css"] {
        assert_eq!(status(&ask(site.address(), &format!("GET {path}"), &[], "")), 200, "{path}");
    }
}

#[test]
fn a_browser_signs_in_by_a_form_and_its_cookie_is_strict() {
    let site = guarded();
    let sent = ask(site.address(), "GET /ward?view=table&sort=risk", &[PAGE], "");
    assert_eq!(status(&sent), 303);
    assert_eq!(header(&sent, "location"), Some("/login?next=/ward?view=table%26sort=risk"));
    let form = ask(site.address(), "GET /login?next=/ward?view=table%26sort=risk", &[PAGE], "");
    assert!(form.contains(r#"name="next" value="/ward?view=table&amp;sort=risk""#), "{form}");
    let body = format!("token={}&next=%2Fward%3Fview%3Dtable", site.token(Role::Viewer));
    let signed = ask(site.address(), "POST /login", &[FORM], &body);
    assert_eq!((status(&signed), header(&signed, "location")), (303, Some("/ward?view=table")));
    let cookie = header(&signed, "set-cookie").expect("a cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("Secure"), "it did not come by TLS: {cookie}");
    let kept = cookie.split(';').next().expect("name and value");
    let ward = ask(site.address(), "GET /ward", &[("Cookie", kept)], "");
    assert!(status(&ward) == 200 && ward.contains("viewer-1") && !ward.contains("/audit"));
    let tls = [FORM, ("X-Forwarded-Proto", "https")];
    assert!(ask(site.address(), "POST /login", &tls, &body).contains("; Secure"));
    let out = ask(site.address(), "POST /logout", &[("Cookie", kept)], "");
    assert!(header(&out, "set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
}

#[test]
fn another_site_cannot_sign_anybody_in_or_send_them_away() {
    let site = guarded();
    let body = format!("token={}&next=https%3A%2F%2Fevil.example", site.token(Role::Viewer));
    let signed = ask(site.address(), "POST /login", &[FORM], &body);
    assert_eq!(header(&signed, "location"), Some("/"));
    let crossed = [FORM, ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(status(&ask(site.address(), "POST /login", &crossed, &body)), 403);
}

#[test]
fn wrong_tokens_are_counted_and_then_not_listened_to() {
    let site = guarded();
    let wrong = format!("token={}", mint().expect("random"));
    for _ in 0..MAX_FAILED {
        let answer = ask(site.address(), "POST /login", &[FORM], &wrong);
        assert!(status(&answer) == 401 && answer.contains("no such token"), "{answer}");
        assert!(header(&answer, "set-cookie").is_none());
    }
    let answer = ask(site.address(), "POST /login", &[FORM], &wrong);
    assert_eq!(status(&answer), 429);
    assert_eq!(site.status(Role::Admin, "/ward"), 429, "by a header as well");
    let long = format!("token={}", "x".repeat(5_000));
    assert_eq!(status(&ask(site.address(), "POST /login", &[FORM], &long)), 400);
}

#[test]
fn updates_of_an_open_page_end_with_its_token() {
    let site = guarded();
    let mut stream = TcpStream::connect(site.address()).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let token = site.token(Role::Viewer);
    let request = format!("GET /live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut seen = vec![0; 4_096];
    let n = stream.read(&mut seen).expect("an answer");
    assert!(seen[..n].starts_with(b"HTTP/1.1 200"));
    std::fs::write(site.dir.path().join("tokens"), "").expect("emptied");
    // The last chunk of the body says that the stream has ended, not that it stalls.
    let mut end = Vec::new();
    while !end.ends_with(b"0\r\n\r\n") {
        let n = stream.read(&mut seen).expect("the end of the updates");
        assert!(n > 0, "cut without an end");
        end.extend_from_slice(&seen[..n]);
    }
    assert_eq!(site.status(Role::Viewer, "/ward"), 401);
}

#[test]
fn every_look_at_a_stay_is_written_down_and_administrators_read_it() {
    let site = guarded();
    site.status(Role::Viewer, "/ward");
    site.status(Role::Viewer, "/stay/1");
    site.status(Role::Clinician, "/stay/1?speed=0");
    site.status(Role::Clinician, "/stay/1/film/5");
    site.status(Role::Admin, "/stay/1/provenance.json");
    let own = |text: &str| text.to_owned();
    let wanted = [
        ("viewer-1", "stay page", "4"),
        ("clinician-1", "stay page", "0"),
        ("clinician-1", "film", "4"),
        ("admin-1", "provenance", "0"),
    ];
    let wanted = wanted.map(|(who, what, outcome)| (own(who), own("1"), own(what), own(outcome)));
    assert_eq!(site.looks(), wanted);
    let bearer = format!("Bearer {}", site.token(Role::Admin));
    let page = ask(site.address(), "GET /audit", &[("Authorization", &bearer)], "");
    assert!(page.contains("the role does not go so far") && page.contains("clinician-1"), "{page}");
    let stay = ask(site.address(), "GET /stay/1", &[("Authorization", &bearer)], "");
    assert_eq!(header(&stay, "cache-control"), Some("no-store"));
}

#[test]
fn no_stay_is_shown_while_looks_cannot_be_written_down() {
    let site = guarded_with(|_| PathBuf::from("/dev/full"), None);
    for path in ["/stay/1", "/stay/1/provenance.json"] {
        let bearer = format!("Bearer {}", site.token(Role::Clinician));
        let headers = [("Authorization", bearer.as_str())];
        let answer = ask(site.address(), &format!("GET {path}"), &headers, "");
        assert!(status(&answer) == 503 && answer.contains("cannot be written down"), "{answer}");
        assert!(!answer.contains("mortality") && !answer.contains("Risk of"), "{answer}");
    }
    assert_eq!(site.status(Role::Clinician, "/ward"), 200, "the ward is no look at a stay");
}

#[test]
fn an_open_dashboard_has_no_door_and_no_log() {
    let site = site();
    let login = ask(site.address, "GET /login", &[("Host", "localhost")], "");
    assert_eq!((status(&login), header(&login, "location")), (303, Some("/")));
    let audit = ask(site.address, "GET /audit", &[("Host", "localhost")], "");
    assert!(status(&audit) == 200 && audit.contains("open to everybody"), "{audit}");
}

//! Mail against an SMTP server of the tests' own, on loopback.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::tests::{Memory, QUICK, desk, event, notice, value, wall};
use super::*;
use crate::config::{Config, MailConfig};
use crate::event::alert::AlertEvent;
use crate::event::risk::Mode;

#[cfg(feature = "https")]
#[path = "../../tests/tls/certificates.rs"]
mod certificates;

/// What the server does with one connection. After the last of them it takes whatever comes.
#[derive(Clone, Copy, PartialEq)]
enum Act {
    Take,
    /// Answers `RCPT TO` with this.
    Answer(&'static str),
    /// Hangs up in the middle of the message.
    Cut,
    /// Takes no password.
    NoEntry,
}

/// What came, in order.
#[derive(Debug, Default, PartialEq)]
struct Told {
    hello: String,
    login: Option<String>,
    to: String,
    /// Headers and body; empty if none was taken.
    text: String,
}

/// A connection, plain or not.
trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

/// How a plain stream becomes one within TLS.
type Wrap = dyn Fn(TcpStream) -> Box<dyn Wire> + Send;

/// A server that offers STARTTLS if it can `wrap`, or speaks TLS from the first byte on.
fn server(acts: &[Act], wrap: Option<Box<Wrap>>, implicit: bool) -> (SocketAddr, Receiver<Told>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = channel();
    let mut acts: VecDeque<Act> = acts.iter().copied().collect();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let act = acts.pop_front().unwrap_or(Act::Take);
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
            let plain = stream.try_clone().expect("a stream");
            let wire: Box<dyn Wire> = match &wrap {
                Some(wrap) if implicit => wrap(stream),
                _ => Box::new(stream),
            };
            let wrap = wrap.as_deref().filter(|_| !implicit);
            // A client that breaks off is seen on its own side.
            converse(wire, act, wrap.map(|wrap| (wrap, plain)), &tell);
        }
    });
    (address, told)
}

fn line(wire: &mut dyn Wire) -> Option<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n") {
        if wire.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&text).trim_end_matches("\r\n").to_owned())
}

fn converse(
    mut wire: Box<dyn Wire>,
    act: Act,
    mut wrap: Option<(&Wrap, TcpStream)>,
    tell: &Sender<Told>,
) -> Option<()> {
    let mut told = Told::default();
    let say = |wire: &mut dyn Wire, text: &str| wire.write_all(format!("{text}\r\n").as_bytes());
    say(&mut wire, "220 here").ok()?;
    loop {
        let said = line(&mut wire)?;
        let answer = match said.split_once(' ').unwrap_or((&said, "")) {
            ("EHLO", name) => {
                told.hello = name.to_owned();
                let more = if wrap.is_some() { "250-STARTTLS\r\n" } else { "" };
                format!("250-here\r\n{more}250-AUTH PLAIN\r\n250 8BITMIME")
            }
            ("STARTTLS", _) => {
                say(&mut wire, "220 go ahead").ok()?;
                let (wrap, plain) = wrap.take()?;
                wire = wrap(plain);
                continue;
            }
            ("AUTH", login) => {
                told.login = Some(login.to_owned());
                if act == Act::NoEntry { "535 wrong" } else { "235 welcome" }.to_owned()
            }
            ("RCPT", to) => {
                told.to = to.to_owned();
                if let Act::Answer(answer) = act { answer } else { "250 known" }.to_owned()
            }
            ("DATA", _) => {
                say(&mut wire, "354 go on").ok()?;
                while let Some(text) = line(&mut wire).filter(|text| text != ".") {
                    if act == Act::Cut {
                        tell.send(told).ok()?;
                        return None;
                    }
                    assert!(text.len() <= 998, "a line is too long: {text}");
                    // RFC 5321 4.5.2.
                    told.text += text.strip_prefix('.').unwrap_or(&text);
                    told.text += "\r\n";
                }
                "250 taken".to_owned()
            }
            ("QUIT", _) => {
                tell.send(told).ok()?;
                say(&mut wire, "221 bye").ok()?;
                return Some(());
            }
            _ => "250 well".to_owned(),
        };
        say(&mut wire, &answer).ok()?;
    }
}

fn config(scheme: &str, address: SocketAddr, more: &[&str]) -> MailConfig {
    let mut flags = vec![
        format!("notify.mail_server={scheme}://{address}"),
        "notify.mail_from=alerts@icu.example.org".to_owned(),
        "notify.mail_to=[\"one@example.org\"]".to_owned(),
    ];
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    Config::load(None, [], &flags).expect("valid").notify.mail.expect("a server")
}

fn mail(address: SocketAddr, more: &[&str]) -> Mail {
    Mail::new(&config("smtp", address, more), "icu-2", wall).expect("usable")
}

const TWO: &str = r#"notify.mail_to=["one@example.org", "two@example.org"]"#;

fn next(told: &Receiver<Told>) -> Told {
    told.recv_timeout(Duration::from_secs(10)).expect("somebody came")
}

/// The value of a header, unfolded; and the body as it was before it was encoded.
fn parts(text: &str) -> (impl Fn(&str) -> Option<String>, String) {
    let (head, body) = text.split_once("\r\n\r\n").expect("a body");
    let head = head.replace("\r\n ", " ");
    let header = move |name: &str| {
        let value = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        value.map(str::to_owned)
    };
    let quoted = header("Content-Transfer-Encoding").as_deref() == Some("quoted-printable");
    let mut decoded = body.replace("\r\n", "\n");
    if quoted {
        decoded = decoded.replace("=\n", "").replace("=20", " ").replace("=3D", "=");
    }
    (header, decoded)
}

fn loud(revision: u32) -> AlertEvent {
    event(1, revision, i64::from(revision), Mode::Interruptive)
}

#[test]
fn mail_arrives_once_and_in_order_with_its_headers_whatever_happens_on_the_way() {
    let busy = Act::Answer("451 later");
    let (address, told) = server(&[busy, Act::Cut, Act::Take, Act::Cut, busy], None, false);
    let events = [loud(0), loud(0), event(2, 0, 1, Mode::Silent), loud(1)];
    let values = events.iter().map(value).collect();
    let mut memory = Memory { values, ..Memory::default() };
    let committed = std::sync::Arc::clone(&memory.committed);
    let mut dispatch = Dispatch::start(vec![Box::new(mail(address, &[]))], QUICK).expect("threads");
    let (until, stop) = (Until::Idle(Duration::from_millis(50)), AtomicBool::new(false));
    let tally = follow(&mut memory, &mut desk(24.0), &mut dispatch, &mut |_| Ok(()), until, &stop)
        .expect("followed");
    assert_eq!((tally.shown, tally.delivered, tally.refused), (3, 2, 0));
    assert_eq!(committed.lock().expect("not poisoned").last(), Some(&4));
    drop(dispatch);
    let all: Vec<Told> = told.try_iter().collect();
    let texts: Vec<&str> =
        all.iter().map(|told| told.text.as_str()).filter(|text| !text.is_empty()).collect();
    assert_eq!((all.len(), texts.len()), (6, 2), "{all:?}");
    for (text, event) in texts.into_iter().zip([&events[0], &events[3]]) {
        let (header, body) = parts(text);
        let id = event.id.to_string();
        assert_eq!(header("Message-ID"), Some(format!("<{id}@icu.example.org>")));
        assert_eq!(header("Nowcxr-Event-Id"), Some(id));
        assert_eq!(header("Subject").as_deref(), Some("nowcxr: medium, stay 37"));
        assert_eq!(header("MIME-Version").as_deref(), Some("1.0"));
        assert_eq!(header("Auto-Submitted").as_deref(), Some("auto-generated"));
        assert_eq!(header("Date").as_deref(), Some("Thu, 01 Jan 1970 00:00:01 +0000"));
        assert!(header("From").expect("a sender").contains("<alerts@icu.example.org>"));
        assert!(header("Content-Type").expect("a type").starts_with("text/plain"));
        assert!(body.starts_with("RESEARCH USE ONLY"), "{body}");
        let said = &body[body.find('{').expect("JSON")..];
        let said: serde_json::Value = serde_json::from_str(said).expect("JSON");
        assert_eq!(said, notice(event).json());
    }
    assert_eq!(all[2].hello, "icu-2");
    assert_eq!(all[2].to, "TO:<one@example.org>");
}

#[test]
fn a_silent_alert_leaves_by_no_mail() {
    let (address, told) = server(&[], None, false);
    let mail = mail(address, &[]);
    assert!(!mail.wants(&notice(&event(1, 0, 0, Mode::Silent))));
    assert!(mail.wants(&notice(&loud(0))));
    assert!(told.try_recv().is_err());
}

#[test]
fn who_is_refused_for_good_is_given_up_and_keeps_no_other_from_it() {
    let (address, told) = server(&[Act::Answer("550 unknown")], None, false);
    let mut two = mail(address, &[TWO]);
    let refused = two.deliver(&notice(&loud(0)));
    let Err(DeliveryError::Refused(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("1 of 2") && why.contains("550 unknown"), "{why}");
    let [first, second] = [next(&told), next(&told)];
    assert_eq!((first.to.as_str(), first.text.as_str()), ("TO:<one@example.org>", ""));
    assert_eq!(second.to, "TO:<two@example.org>");
    assert!(second.text.contains("To: two@example.org"), "{}", second.text);
    assert!(told.try_recv().is_err(), "nobody is tried again");
}

#[test]
fn who_was_written_to_is_not_written_to_again_when_another_is_tried_later() {
    let (address, told) = server(&[Act::Take, Act::Answer("450 full")], None, false);
    let mut two = mail(address, &[TWO]);
    let notice = notice(&loud(0));
    let later = two.deliver(&notice);
    assert!(matches!(&later, Err(DeliveryError::Retry(why)) if why.contains("450")), "{later:?}");
    assert_eq!(two.deliver(&notice), Ok(()));
    let to: Vec<String> = (0..3).map(|_| next(&told).to).collect();
    assert_eq!(to, ["TO:<one@example.org>", "TO:<two@example.org>", "TO:<two@example.org>"]);
    // The next record goes to both.
    assert_eq!(two.deliver(&super::tests::notice(&loud(1))), Ok(()));
    assert_eq!([next(&told).to, next(&told).to].map(|to| to.len()), [20, 20]);
    drop(told);
    let nobody = "127.0.0.1:1".parse().expect("an address");
    let gone = mail(nobody, &[]).deliver(&notice);
    assert!(matches!(gone, Err(DeliveryError::Retry(_))), "{gone:?}");
}

#[test]
fn a_login_is_made_and_the_password_is_never_printed() {
    let (address, told) = server(&[Act::Take, Act::NoEntry], None, false);
    let login = ["notify.mail_user=nowcxr", "notify.mail_password=hunter2"];
    assert!(!format!("{:?}", config("smtp", address, &login)).contains("hunter2"));
    let mut mail = mail(address, &login);
    assert_eq!(mail.deliver(&notice(&loud(0))), Ok(()));
    // RFC 4616: no identity, the user, the password.
    assert_eq!(next(&told).login.as_deref(), Some("PLAIN AG5vd2N4cgBodW50ZXIy"));
    let refused = mail.deliver(&notice(&loud(1)));
    let Err(DeliveryError::Refused(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("535") && !why.contains("hunter2"), "{why}");
    let absent = config("smtp", address, &[login[0], "notify.mail_password=@/no/such/file"]);
    let absent = Mail::new(&absent, "", wall).err().expect("no file").to_string();
    assert!(absent.contains("notify.mail_password"), "{absent}");
}

#[cfg(feature = "https")]
mod tls {
    use std::path::Path;
    use std::sync::Arc;

    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::*;

    fn wrap(dir: &Path) -> Box<Wrap> {
        let chain = CertificateDer::from_pem_file(dir.join("server.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a pair");
        let config = Arc::new(config);
        Box::new(move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            Box::new(StreamOwned::new(connection, stream))
        })
    }

    #[test]
    fn mail_goes_within_tls_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        if !certificates::certify(dir.path()) {
            return;
        }
        let ca = format!("notify.mail_ca={}", dir.path().join("ca.pem").display());
        let notice = notice(&loud(0));
        for (scheme, implicit) in [("smtp+starttls", false), ("smtps", true)] {
            let (address, told) = server(&[], Some(wrap(dir.path())), implicit);
            let mail = |more: &[&str]| {
                Mail::new(&config(scheme, address, more), "icu-2", wall).expect("usable")
            };
            assert_eq!(mail(&[&ca]).deliver(&notice), Ok(()), "{scheme}");
            assert!(next(&told).text.contains("Nowcxr-Event-Id"), "{scheme}");
            // An authority that is not the web's.
            let distrusted = mail(&[]).deliver(&notice);
            let Err(DeliveryError::Retry(why)) = distrusted else { panic!("{distrusted:?}") };
            assert!(why.contains("notify.mail_ca"), "{why}");
            assert!(told.try_recv().is_err(), "{scheme}: nothing was told");
        }
        let (plain, told) = server(&[], None, false);
        let config = config("smtp+starttls", plain, &[&ca]);
        let without = Mail::new(&config, "icu-2", wall).expect("usable").deliver(&notice);
        assert!(matches!(without, Err(DeliveryError::Refused(_))), "{without:?}");
        assert!(told.recv_timeout(Duration::from_millis(200)).is_err(), "nothing was told");
    }

    #[test]
    fn a_file_without_authorities_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("empty.pem"), "").expect("written");
        let address = "127.0.0.1:1".parse().expect("an address");
        for name in ["empty.pem", "absent.pem"] {
            let ca = format!("notify.mail_ca={}", dir.path().join(name).display());
            let wrong = Mail::new(&config("smtps", address, &[&ca]), "", wall);
            assert!(wrong.err().expect("unusable").to_string().contains(name));
        }
    }
}

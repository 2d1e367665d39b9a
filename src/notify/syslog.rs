//! A notice as a line of syslog (RFC 5424), over UDP (RFC 5426) or TCP with the octets counted
//! (RFC 6587). UDP promises nothing: what is lost on the way is lost.

use std::io::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::Duration;

use serde_json::json;

use super::dispatch::{Channel, DeliveryError};
use super::notice::Notice;
use crate::event::alert::{Priority, Subject};
use crate::time::WallTime;

/// Facility local0.
const FACILITY: u8 = 16;
/// The private enterprise number that RFC 5612 keeps free for examples; we have none.
const ENTERPRISE: &str = "nowcxr@32473";
const TIMEOUT: Duration = Duration::from_secs(5);

/// One collector.
pub struct Syslog {
    target: Target,
    clock: fn() -> WallTime,
}

enum Target {
    Udp(String),
    Tcp(String, Option<TcpStream>),
}

impl Syslog {
    /// `target` is `udp://host:port` or `tcp://host:port`; `None` if it is neither.
    pub fn new(target: &str, clock: fn() -> WallTime) -> Option<Self> {
        let target = match target.split_once("://")? {
            ("udp", address) => Target::Udp(address.to_owned()),
            ("tcp", address) => Target::Tcp(address.to_owned(), None),
            _ => return None,
        };
        Some(Syslog { target, clock })
    }
}

impl Channel for Syslog {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn wants(&self, notice: &Notice) -> bool {
        notice.is_shown()
    }

    fn deliver(&mut self, notice: &Notice) -> Result<(), DeliveryError> {
        let line = line(notice, (self.clock)());
        let sent = match &mut self.target {
            Target::Udp(address) => send_datagram(address, &line),
            Target::Tcp(address, stream) => {
                let sent = send_counted(address, stream, &line);
                if sent.is_err() {
                    *stream = None;
                }
                sent
            }
        };
        sent.map_err(|error| DeliveryError::Retry(format!("syslog cannot be reached: {error}")))
    }
}

fn send_datagram(address: &str, line: &str) -> std::io::Result<()> {
    let to = resolve(address)?;
    let from = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    UdpSocket::bind(from)?.send_to(line.as_bytes(), to).map(drop)
}

fn send_counted(address: &str, held: &mut Option<TcpStream>, line: &str) -> std::io::Result<()> {
    if held.is_none() {
        let stream = TcpStream::connect_timeout(&resolve(address)?, TIMEOUT)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        *held = Some(stream);
    }
    match held {
        Some(stream) => stream.write_all(format!("{} {line}", line.len()).as_bytes()),
        None => Ok(()),
    }
}

fn resolve(address: &str) -> std::io::Result<std::net::SocketAddr> {
    let unknown = || std::io::Error::other(format!("{address} is no known host and port"));
    address.to_socket_addrs()?.next().ok_or_else(unknown)
}

/// The message, without its frame.
pub(super) fn line(notice: &Notice, now: WallTime) -> String {
    let record = &notice.record;
    let pri = FACILITY * 8 + severity(notice);
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let data = [
        ("event", record.event_id.to_string()),
        ("alert", record.alert_id.to_string()),
        ("revision", record.revision.to_string()),
        ("stay", record.stay_id.to_string()),
        ("state", word(json!(record.state))),
        ("priority", word(json!(record.priority))),
        ("reach", notice.reach.name().to_owned()),
    ];
    let data: String = data.iter().map(|(name, value)| format!(" {name}=\"{value}\"")).collect();
    format!("<{pri}>1 {now} - nowcxr - alert [{ENTERPRISE}{data}] {}", record.summary)
}

/// RFC 5424's severities. None above critical: nothing here is certain.
fn severity(notice: &Notice) -> u8 {
    let (informational, notices, warning, critical) = (6, 5, 4, 2);
    match (notice.disturbs(), notice.record.subject, notice.record.priority) {
        (true, Subject::InHospitalDeath, Priority::High) => critical,
        (true, _, _) => warning,
        (false, _, _) if notice.record.is_standing() => notices,
        (false, _, _) => informational,
    }
}

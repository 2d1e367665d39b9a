//! The MLLP server: connections on one side, the desk on a thread of its own on the other.
//!
//! A sender waits for the answer to each message, so a connection has one message on its way at a
//! time.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::mllp::{Deframer, frame};
use crate::edge::connections::accept;
use crate::edge::counter::{Hatch, MAX_WAITING};
use crate::edge::guard::{Guard, Line};

/// Connections held at once. Further ones wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 32;
// A connection has one message on its way, so that the desk's queue always has room.
const _: () = assert!(MAX_CONNECTIONS <= MAX_WAITING);
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// From a message's first byte to its last, and for an answer to be taken: a sender that drips
/// does not hold a place for ever.
const STALLED: Duration = Duration::from_secs(60);
/// Between two messages of a connection. Senders that are longer silent connect again.
const SILENT: Duration = Duration::from_secs(4 * 3_600);

/// The listening side.
pub struct Listener {
    listener: TcpListener,
    guard: Guard,
    hatch: Hatch<Vec<u8>>,
}

/// Listens on an address, for the desk behind `hatch`.
///
/// # Errors
/// If the address cannot be taken.
pub async fn bind(address: SocketAddr, hatch: Hatch<Vec<u8>>) -> io::Result<Listener> {
    let listener = TcpListener::bind(address).await?;
    Ok(Listener { listener, guard: Guard::default(), hatch })
}

impl Listener {
    /// Hears only who passes `guard`.
    #[must_use]
    pub fn behind(self, guard: Guard) -> Self {
        Listener { guard, ..self }
    }

    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes connections until `stop`, then lets go of all of them.
    pub async fn serve(self, stop: &AtomicBool) {
        let Listener { listener, guard, hatch } = self;
        accept(&listener, &guard, MAX_CONNECTIONS, stop, |taken| {
            let hatch = hatch.clone();
            async move {
                let line = taken.open().await?;
                let _present = hatch.enter();
                converse(line, &hatch).await
            }
        })
        .await;
    }
}

/// One sender's messages, each answered before the next is read. An error closes the connection
/// without an answer, and the sender sends the message again.
async fn converse(mut line: Box<dyn Line>, hatch: &Hatch<Vec<u8>>) -> io::Result<()> {
    let mut deframer = Deframer::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut began = None;
    loop {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        while let Some(message) = deframer.next_message().map_err(invalid)? {
            began = None;
            let gone = || io::Error::other("the edge is stopping");
            let answered = hatch.hand_in(message).ok_or_else(gone)?;
            for text in answered.await.map_err(|_| gone())? {
                let block = frame(&text);
                timeout(STALLED, async {
                    line.write_all(&block).await?;
                    line.flush().await
                })
                .await??;
            }
        }
        began = if deframer.is_inside() { began.or(Some(Instant::now())) } else { None };
        let patience = match began {
            Some(began) => STALLED.saturating_sub(Instant::now().duration_since(began)),
            None => SILENT,
        };
        let n = match timeout(patience, line.read(&mut buffer)).await? {
            // Some senders end TLS without saying so; a block says where it ends by itself.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            read => read?,
        };
        if n == 0 {
            return Ok(());
        }
        deframer.push(buffer.get(..n).unwrap_or_default());
    }
}

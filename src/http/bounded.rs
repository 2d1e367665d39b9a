//! A listener that holds a bounded number of connections. Further ones wait in the kernel's queue,
//! so a flood costs this process neither memory nor file descriptors.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections held at once: a few scrapers and probes, and a hundred people's browsers, each of
/// which may open six beside the stream of its updates.
pub const MAX_CONNECTIONS: usize = 768;

/// Accepts while fewer than its bound of connections are open.
pub(super) struct Bounded {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

/// A connection and its place; the place is free again when it is dropped.
pub(super) struct Connection {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

/// Where a connection comes from; handlers have it as `ConnectInfo<Peer>`.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Peer(*stream.remote_addr())
    }
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, bound: usize) -> Self {
        Bounded { listener, free: Arc::new(Semaphore::new(bound)) }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed, so there is always a place.
        let place = Arc::clone(&self.free).acquire_owned().await.ok();
        // Axum's own `accept` retries what passes by itself.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (Connection { stream, _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_connection_too_many_waits_for_a_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut bounded = Bounded::new(listener, 1);
        let address = bounded.local_addr().expect("bound");
        let _clients = (
            TcpStream::connect(address).await.expect("first"),
            TcpStream::connect(address).await.expect("second"),
        );
        let (first, _) = bounded.accept().await;
        let wait = Duration::from_millis(50);
        assert!(timeout(wait, bounded.accept()).await.is_err(), "the only place is taken");
        drop(first);
        assert!(timeout(Duration::from_secs(5), bounded.accept()).await.is_ok());
    }
}

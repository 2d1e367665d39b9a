//! Connections of senders: taken one by one, bounded in number, let go at the end.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::counter::LOOK;
use super::guard::{Guard, Taken};

/// Takes connections until `stop`, at most `places` at once; further ones wait in the kernel's
/// queue. Then lets go of all of them. `converse` is one sender's conversation, behind `guard`, and
/// an error of it closes that connection alone.
pub(super) async fn accept<F, E>(
    listener: &TcpListener,
    guard: &Guard,
    places: usize,
    stop: &AtomicBool,
    mut converse: impl FnMut(Taken) -> F,
) where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display,
{
    let places = Arc::new(Semaphore::new(places));
    let mut connections = tokio::task::JoinSet::new();
    while !stop.load(Ordering::Acquire) {
        while connections.try_join_next().is_some() {}
        let Ok(Ok(place)) = timeout(LOOK, Arc::clone(&places).acquire_owned()).await else {
            continue;
        };
        let stream = match timeout(LOOK, listener.accept()).await {
            Ok(Ok((stream, _))) => stream,
            Ok(Err(error)) => {
                tracing::warn!("a connection could not be taken: {error}");
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(_) => continue,
        };
        // Answers are small, and the sender waits for them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::info!("a sender's connection was closed: {error}");
            continue;
        }
        let conversation = converse(guard.take(stream));
        connections.spawn(async move {
            let _place = place;
            if let Err(error) = conversation.await {
                tracing::info!("a sender's connection was closed: {error}");
            }
        });
    }
    connections.shutdown().await;
}

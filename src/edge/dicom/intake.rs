//! The way of a file from a connection to the desk and back, for each protocol that brings one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::instance::{Instance, Stored};
use crate::edge::counter::{Hatch, Present};

/// Films that are decoded at once.
const MAX_DECODING: usize = 2;
/// How long the desk may take to make a film durable.
const DURABLE: Duration = Duration::from_secs(20);

/// Takes files for the desk.
#[derive(Clone)]
pub struct Intake {
    hatch: Hatch<Instance>,
    decoding: Arc<Semaphore>,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// SOP Class UID and SOP Instance UID; empty where the file says none.
    pub class: String,
    pub instance: String,
    pub stored: Stored,
}

impl Intake {
    pub fn new(hatch: Hatch<Instance>) -> Self {
        Intake { hatch, decoding: Arc::new(Semaphore::new(MAX_DECODING)) }
    }

    /// Says that a sender is there, until what this gives is dropped.
    pub fn enter(&self) -> Present {
        self.hatch.enter()
    }

    /// Decodes and judges a file (PS3.10). `None` if the edge is stopping.
    pub async fn open(&self, sender: String, file: Vec<u8>) -> Option<Instance> {
        let place = Arc::clone(&self.decoding).acquire_owned().await.ok()?;
        let opened = tokio::task::spawn_blocking(move || {
            let _place = place;
            Instance::open(sender, &file)
        });
        opened.await.ok()
    }

    /// Opens a file, hands it in, and waits until what follows from it is durable. `None` if it
    /// cannot be written now or the edge is stopping: the sender must come again, and the file is
    /// known then if it was durable after all.
    pub async fn store(&self, sender: String, file: Vec<u8>) -> Option<Answered> {
        let instance = self.open(sender, file).await?;
        let (class, uid) = instance.uids();
        let (class, uid) = (class.to_owned(), uid.to_owned());
        let answered = self.hatch.hand_in(instance)?;
        let stored = timeout(DURABLE, answered).await.ok()?.ok()?;
        Some(Answered { class, instance: uid, stored })
    }
}

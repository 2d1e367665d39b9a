//! What whoever runs the loop decides about it.

use std::time::Duration;

use super::ahead::WAITING_MAX;
use crate::config::ErrorHandlers;

/// How the loop behaves. Nothing here changes a payload.
#[derive(Clone, Debug)]
pub struct DriveOptions {
    pub partition: u32,
    /// How many partitions the inputs have, where records are shared out among them by their keys:
    /// one in another partition than its key's is rejected, so that no stay is ever in two tasks.
    pub partitions: Option<u32>,
    /// The name of this node in envelopes. Never a patient's.
    pub node: String,
    /// Time between two commits while there is work.
    pub commit_every: Duration,
    /// Whether what is done is committed at once when no more input is there. A transport whose
    /// commits cost much waits for `commit_every` all the same.
    pub commit_when_idle: bool,
    /// Facts that may wait for the watermark before topics that are ahead are held back.
    pub waiting_max: usize,
    /// How long to wait for input when there is none.
    pub idle_wait: Duration,
    /// Bytes of prepared films kept in memory.
    pub film_cache_bytes: usize,
    /// An answer later than this leaves its window unscored; `None` waits for ever, as replay,
    /// training and simulation do.
    pub deadline: Option<Duration>,
    /// A feed without a mark for so long is passed over; `None` waits for ever.
    pub feed_timeout: Option<Duration>,
    /// Where event time is the wall clock's, a feed that sends no marks is held to have nothing on
    /// its way when it has been quiet for so long, but what its lateness allows.
    pub quiet_after: Duration,
    /// What becomes of records that cannot be used.
    pub errors: ErrorHandlers,
    /// Whether event time is the wall clock's, so that time passes also when all feeds are silent.
    pub event_time_is_wall_time: bool,
}

impl Default for DriveOptions {
    fn default() -> Self {
        DriveOptions {
            partition: 0,
            partitions: None,
            node: "unnamed".to_owned(),
            commit_every: Duration::from_millis(100),
            commit_when_idle: true,
            waiting_max: WAITING_MAX,
            idle_wait: Duration::from_millis(50),
            film_cache_bytes: 32 << 20,
            deadline: None,
            feed_timeout: None,
            quiet_after: Duration::from_secs(60),
            errors: ErrorHandlers::default(),
            event_time_is_wall_time: false,
        }
    }
}

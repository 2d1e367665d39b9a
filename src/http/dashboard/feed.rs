//! What the dashboard reads, as a port: the outputs of the service, and the films they name.
//!
//! The dashboard never asks the engine (design decision 15). It follows topics from their start,
//! and reads a record again by its place when a page needs more of it than the ward keeps.

use bytes::Bytes;
use thiserror::Error;

use crate::wire::records::{ImagingEvent, PictureField, StayChange, StayEventRecord};
use crate::wire::{AlertRecord, Codec, DeadLetter, Record, RiskRecord, StayView};

/// Records that one poll may give; more wait for the next.
pub const MAX_BATCH: usize = 512;

/// Why topics cannot be read. The dashboard shows it and tries again.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct FeedError(pub String);

/// The topics that the dashboard follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FeedTopic {
    Risk,
    View,
    Alert,
    DeadLetter,
    /// Input topic: unit names.
    Stay,
    /// Input topic: films, which risk events only refer to.
    Imaging,
}

/// Where a record stands, so that it can be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub topic: FeedTopic,
    pub partition: u32,
    pub offset: u64,
}

/// One record of a followed topic.
#[derive(Clone, Debug)]
pub struct Told {
    pub place: Place,
    /// Confluent-framed Avro.
    pub payload: Bytes,
}

/// Follows topics. Used by one thread.
pub trait Feed: Send {
    /// Appends at most [`MAX_BATCH`] records that follow those of the last call; none if there are
    /// none yet.
    ///
    /// # Errors
    /// [`FeedError`]; the next call tries again from the same place.
    fn poll(&mut self, into: &mut Vec<Told>) -> Result<(), FeedError>;

    /// True if looking for more costs something, so that it should be done less often.
    fn is_reopened(&self) -> bool {
        false
    }
}

/// Reads single records again. Used by many threads.
pub trait Archive: Send + Sync {
    /// The record at `place`; `None` if it is gone.
    ///
    /// # Errors
    /// [`FeedError`].
    fn read(&self, place: Place) -> Result<Option<Bytes>, FeedError>;
}

/// A record as the ward takes it.
#[derive(Clone, Debug)]
pub enum News {
    Risk(Box<RiskRecord>),
    View(Box<StayView>),
    Alert(Box<AlertRecord>),
    DeadLetter(Box<DeadLetter>),
    Stay(Box<StayEventRecord>),
    /// Without its picture, which is read from its place when somebody looks at it.
    Film(Box<ImagingEvent>),
}

impl FeedTopic {
    pub const ALL: [FeedTopic; 6] = [
        FeedTopic::Stay,
        FeedTopic::Imaging,
        FeedTopic::Risk,
        FeedTopic::View,
        FeedTopic::Alert,
        FeedTopic::DeadLetter,
    ];

    /// True for what the engine writes; inputs hold marks as well, which say nothing here.
    pub const fn is_output(self) -> bool {
        !matches!(self, FeedTopic::Stay | FeedTopic::Imaging)
    }

    /// The topic's name in the local log.
    pub const fn name(self) -> &'static str {
        match self {
            FeedTopic::Risk => "risk",
            FeedTopic::View => "view",
            FeedTopic::Alert => "alert",
            FeedTopic::DeadLetter => "dead_letter",
            FeedTopic::Stay => "stay",
            FeedTopic::Imaging => "imaging",
        }
    }
}

impl Told {
    /// What the record says; `None` for a mark, and for what cannot be read.
    pub fn news(&self, codec: &Codec) -> Option<News> {
        match self.place.topic {
            FeedTopic::Risk => self.record(codec).map(News::Risk),
            FeedTopic::View => self.record(codec).map(News::View),
            FeedTopic::Alert => self.record(codec).map(News::Alert),
            FeedTopic::DeadLetter => self.record(codec).map(News::DeadLetter),
            FeedTopic::Stay => self.record(codec).map(News::Stay),
            FeedTopic::Imaging => self.record::<ImagingEvent>(codec).map(|mut film| {
                film.picture = PictureField::Missing;
                News::Film(film)
            }),
        }
    }

    fn record<R: Record>(&self, codec: &Codec) -> Option<Box<R>> {
        codec.decode::<R>(&self.payload).ok().map(Box::new)
    }
}

/// The unit that a stay is in after `change`, if it says one.
pub fn unit_of(change: &StayChange) -> Option<&str> {
    match change {
        StayChange::Admit(admit) => Some(&admit.unit),
        StayChange::Transfer(transfer) => Some(&transfer.unit),
        StayChange::Discharge(_) => None,
    }
}

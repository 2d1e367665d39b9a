//! The codec of whatever speaks to Kafka: with the fixed ids of `schemas/ids.toml`, or with those
//! of the configured registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;

use crate::config::Config;
use crate::event::dictionary::Dictionary;
use crate::ports::PortError;
use crate::transport::kafka::KafkaSettings;
use crate::transport::registry::Registry;
use crate::wire::{Codec, RecordKind, WireError};

/// Where the ids of schemas come from. Asked once a process; codecs are made from it.
#[derive(Clone, Default)]
pub struct Ids(Option<(BTreeMap<RecordKind, u32>, Arc<Registry>)>);

impl Ids {
    /// Asks the registry, if there is one.
    ///
    /// # Errors
    /// `Retry` while it does not answer.
    pub fn of(config: &Config) -> Result<Self, PortError> {
        let Some(url) = &config.registry.url else { return Ok(Ids(None)) };
        let registry = Registry::open(url, &config.registry)?;
        let kafka = KafkaSettings::from(&config.kafka);
        let ids = registry.ids(&|kind| kafka.topics_of(kind))?;
        Ok(Ids(Some((ids, Arc::new(registry)))))
    }

    pub fn codec(&self, config: &Config, dictionary: &Dictionary) -> Result<Codec, WireError> {
        let (feeds, dictionary) = (&config.engine.feeds, dictionary.clone());
        match &self.0 {
            None => Codec::new(feeds, dictionary),
            Some((ids, registry)) => {
                Codec::with_registry(feeds, dictionary, ids, Arc::<Registry>::clone(registry))
            }
        }
    }
}

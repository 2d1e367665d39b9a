//! An edge, put together as the configuration says.

use super::desk::{Desk, EdgeError, Parts};
use super::language::Language;
use super::pseudonym::Pseudonyms;
use super::reader::Reader;
use super::scribe::Scribe;
use super::sink::Sink;
use crate::config::{Config, HashKey};
use crate::engine::resolve::{ResolveConfig, Resolver, Units};
use crate::event::dictionary::Dictionary;
use crate::ids::Topic;
use crate::ports::StateStore;

/// A desk over a store and the topics, for senders that speak these languages.
///
/// # Errors
/// If `edge.codes` names a code that the dictionary does not have, a topic of the edge has no feed,
/// or the state cannot be read.
pub fn open<S: StateStore, K: Sink>(
    languages: &[Language],
    config: &Config,
    secret: &HashKey,
    store: S,
    sink: K,
) -> Result<Desk<S, K>, EdgeError> {
    let dictionary = Dictionary::builtin(config.profile)?;
    let is_unknown = |code: &&String| dictionary.by_code(code).is_none();
    if let Some(code) = config.edge.codes.values().find(is_unknown) {
        let why = format!("edge.codes says {code:?}, which is no code of schemas/variables.toml");
        return Err(EdgeError::Config(why));
    }
    let engine = &config.engine;
    let has_feed = |topic: &&Topic| engine.feeds.iter().any(|feed| feed.topic == **topic);
    let mut topics = languages.iter().flat_map(|language| language.topics());
    if let Some(topic) = topics.find(|topic| !has_feed(topic)) {
        let why = format!("feeds.list needs a feed of the topic {}", topic.name());
        return Err(EdgeError::Config(why));
    }
    let scribe = Scribe::new(languages, &engine.feeds, dictionary.clone())?;
    let pseudonyms = Pseudonyms::new(secret);
    let resolver = Resolver::new(ResolveConfig {
        units: Units(config.edge.units.clone()),
        lookback: engine.lookback,
        grace: engine.grace,
        keep: engine.keep,
    });
    let reader = Reader::new(config.edge.clone(), dictionary, pseudonyms.clone());
    let lateness = config.edge.lateness;
    Desk::open(Parts { reader, resolver, pseudonyms, scribe, store, sink, lateness })
}

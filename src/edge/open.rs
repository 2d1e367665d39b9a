//! An edge, put together as the configuration says.

use super::desk::{Desk, EdgeError, Parts};
use super::pseudonym::Pseudonyms;
use super::reader::Reader;
use super::scribe::Scribe;
use super::sink::Sink;
use crate::config::{Config, HashKey};
use crate::engine::resolve::{ResolveConfig, Resolver, Units};
use crate::event::dictionary::Dictionary;
use crate::ports::StateStore;

/// What an edge's senders speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Hl7,
    Fhir,
}

impl Language {
    /// What dead letters call the edge.
    const fn name(self) -> &'static str {
        match self {
            Language::Hl7 => "hl7",
            Language::Fhir => "fhir",
        }
    }
}

/// A desk over a store and the topics.
///
/// # Errors
/// If `edge.codes` names a code that the dictionary does not have, a topic of the edge has no feed,
/// or the state cannot be read.
pub fn open<S: StateStore, K: Sink>(
    language: Language,
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
    let Some(scribe) = Scribe::new(language.name(), &engine.feeds, dictionary.clone())? else {
        let why = "feeds.list needs a feed of each of the topics stay, lab and vital";
        return Err(EdgeError::Config(why.to_owned()));
    };
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

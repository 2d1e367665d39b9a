//! `feeds.list`: who sends facts, and how it is known how far each has got.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Feed;
use super::checked::is_plain;
use super::value::{Reader, span};
use crate::ids::Topic;
use crate::time::Span;

/// Feeds that one task can follow.
const MAX_FEEDS: usize = 64;

pub fn feeds(reader: &mut Reader) -> Vec<Feed> {
    let feeds: Vec<Feed> = reader.read("feeds.list", Vec::new(), |value| {
        let list = value.as_array().ok_or("is not a list of { name, topic }")?;
        match list.is_empty() {
            true => Err("is empty; there must be a feed of topic stay".to_owned()),
            false => list.iter().map(feed).collect(),
        }
    });
    let mut names = BTreeSet::new();
    for feed in &feeds {
        if !names.insert(feed.name.as_str()) {
            reader.complain("feeds.list", format!("names the feed {:?} twice", feed.name));
        }
    }
    if !feeds.is_empty() && !feeds.iter().any(|feed| feed.topic == Topic::Stay) {
        let what = "has no feed of topic stay: without admissions there are no windows";
        reader.complain("feeds.list", what.to_owned());
    }
    if feeds.len() > MAX_FEEDS {
        reader.complain("feeds.list", format!("has more than {MAX_FEEDS} feeds"));
    }
    feeds
}

fn feed(value: &Value) -> Result<Feed, String> {
    let table = value.as_table().ok_or("holds something that is not { name, topic }")?;
    let known = ["name", "topic", "lateness"];
    if let Some(other) = table.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!(
            "has an unknown key {other:?}; a feed has name, topic and perhaps lateness"
        ));
    }
    let text = |key: &str| table.get(key).and_then(Value::as_str);
    let name = text("name").ok_or("has a feed without a name")?;
    if !is_plain(name) {
        return Err(format!("has the feed name {name:?}; use 1 to 40 letters, digits, _ - ."));
    }
    let topic = text("topic").and_then(Topic::from_name).ok_or_else(|| {
        let topics = Topic::ALL.map(Topic::name).join(", ");
        format!("says no topic for {name:?}; it is one of {topics}")
    })?;
    let lateness = lateness(name, topic, table)?;
    Ok(Feed { name: name.to_owned(), topic, lateness })
}

fn lateness(name: &str, topic: Topic, table: &Table) -> Result<Option<Span>, String> {
    let Some(value) = table.get("lateness") else { return Ok(None) };
    if topic.is_of_people() {
        return Err(format!("has a lateness of {name:?}, but nobody waits for what people do"));
    }
    let span = span(value, Span::ZERO);
    span.map(Some).map_err(|what| format!("has a lateness of {name:?} that {what}"))
}

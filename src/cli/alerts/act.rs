//! What a person does about an alert, written to the topic of acknowledgements.

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use crate::cli::moment::moment;
use crate::cli::schemas::Ids;
use crate::config::Config;
use crate::event::alert::{Act, By, Deed, Snooze, Suppression, Word};
use crate::event::dictionary::Dictionary;
use crate::ids::{AlertId, StayId};
use crate::ports::OutputKind;
use crate::time::EventTime;
use crate::transport::kafka::{KafkaActs, KafkaSettings, visit_outputs};
use crate::wire::{AlertRecord, Codec};

/// Who acts, on which stay.
#[derive(Args)]
pub struct Who {
    /// The stay's number.
    stay: u64,
    /// The role of the person; never a name.
    #[arg(long)]
    role: Option<String>,
    /// When it was done, for instance 2150-03-01T10:20:00Z. Without it now; where kafka.clock is
    /// the replay's, when the newest alert of the stay was told.
    #[arg(long, value_parser = moment)]
    at: Option<EventTime>,
}

/// An act on one alert.
#[derive(Args)]
pub struct About {
    #[command(flatten)]
    who: Who,
    /// The alert, as `nowcxr alerts follow` names it. Without it the one of the stay that stands
    /// and was told last.
    #[arg(long)]
    alert: Option<Uuid>,
}

/// What is done about an alert.
#[derive(Clone, Copy)]
pub enum Doing<'a> {
    Acknowledge,
    Action,
    Dismiss(&'a str),
    Snooze(i64),
}

pub fn about(config: &Config, about: &About, doing: Doing<'_>) -> Result<()> {
    let desk = Desk::open(config)?;
    let told = desk.told(StayId(about.who.stay))?;
    let alert = match about.alert {
        Some(id) => AlertId(id),
        None => standing(&told).context("no alert of this stay stands; name one with --alert")?,
    };
    let deed = match doing {
        Doing::Acknowledge => Deed::Acknowledge(alert),
        Doing::Action => Deed::Action(alert),
        Doing::Dismiss(reason) => Deed::Dismiss(alert, word("reason", reason)?),
        Doing::Snooze(hours) => {
            let length = Snooze::from_hours(hours).context("--hours is not 1, 4 or 12")?;
            Deed::Snooze(alert, length)
        }
    };
    desk.act(&about.who, deed, &told)
}

pub fn suppress(config: &Config, who: &Who, reason: &str) -> Result<()> {
    let codes = Suppression::ALL.map(Suppression::code).join(" or ");
    let why = Suppression::from_code(reason).ok_or_else(|| anyhow!("--reason is not {codes}"))?;
    let desk = Desk::open(config)?;
    desk.act(who, Deed::Suppress(why), &desk.told(StayId(who.stay))?)
}

pub fn release(config: &Config, who: &Who) -> Result<()> {
    let desk = Desk::open(config)?;
    desk.act(who, Deed::Release, &desk.told(StayId(who.stay))?)
}

fn word(what: &str, text: &str) -> Result<Word> {
    Word::new(text).ok_or_else(|| anyhow!("--{what} is not one line of 1 to 64 characters"))
}

/// The alert that stands and was told last.
fn standing(told: &[AlertRecord]) -> Option<AlertId> {
    let newest = |record: &&AlertRecord| {
        let later = |other: &AlertRecord| {
            other.alert_id == record.alert_id && other.revision > record.revision
        };
        !told.iter().any(later)
    };
    let standing = told.iter().filter(newest).filter(|record| record.is_standing());
    standing.max_by_key(|record| (record.known_at, record.alert_id)).map(|r| r.alert_id)
}

/// Reads alerts and writes acts.
struct Desk {
    settings: KafkaSettings,
    codec: Codec,
    acts: KafkaActs,
}

impl Desk {
    fn open(config: &Config) -> Result<Self> {
        let dictionary = Dictionary::builtin(config.profile)?;
        let ids = Ids::of(config)?;
        Ok(Desk {
            settings: KafkaSettings::from(&config.kafka),
            codec: ids.codec(config, &dictionary)?,
            acts: acts(config, ids.codec(config, &dictionary)?)?,
        })
    }

    /// What was told of a stay's alerts.
    fn told(&self, stay: StayId) -> Result<Vec<AlertRecord>> {
        let mut told = Vec::new();
        let key = Codec::key(stay);
        visit_outputs(&self.settings, OutputKind::Alert, &mut |record| {
            if record.key.as_deref() == Some(key.as_bytes())
                && let Ok(alert) = self.codec.decode::<AlertRecord>(&record.value)
            {
                told.push(alert);
            }
            Ok(())
        })?;
        Ok(told)
    }

    fn act(&self, who: &Who, deed: Deed, told: &[AlertRecord]) -> Result<()> {
        let newest = told.iter().map(|record| record.known_at).max();
        let now = EventTime::from_millis(crate::cli::now().as_millis());
        let at = who.at.or_else(|| self.acts.moment(now, newest));
        let at = at.context("this stay has no alerts; say when it was done with --at")?;
        let role = who.role.as_deref().map(|role| word("role", role)).transpose()?;
        let record = self.acts.write(&Act::new(StayId(who.stay), deed, By { role, at }))?;
        crate::cli::print(&json!({ "written": record }).to_string())
    }
}

/// Writes acts to the service that `config` names.
pub fn acts(config: &Config, codec: Codec) -> Result<KafkaActs> {
    let feed = config.engine.feeds.iter().find(|feed| feed.topic.is_of_people());
    let feed = feed.context(
        "feeds.list has no feed of topic acknowledgement, so the service hears nobody; append \
         { name = \"acknowledgement\", topic = \"acknowledgement\" }",
    )?;
    Ok(KafkaActs::new(KafkaSettings::from(&config.kafka), codec, feed.name.clone()))
}

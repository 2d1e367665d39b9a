//! People who are told of alerts and do something about some of them, at once or a while later,
//! sometimes twice. Their doings go out on the topic of acknowledgements like any feed's records.

use std::collections::BTreeMap;

use nowcxr::event::alert::{Act, By, Deed, Snooze, Suppression, Word};
use nowcxr::ports::OutputKind;
use nowcxr::time::{Span, WallTime};
use nowcxr::wire::{AlertRecord, Codec};

use crate::cluster::codec;
use crate::records;
use crate::ward::{Logged, Ward, fact_id};
use crate::world::{Entry, Place, World};

/// How many of the alerts' records somebody does something about.
const INTEREST: f64 = 0.4;
/// How often a record is sent twice.
const TWICE: f64 = 0.1;
/// Minutes after an alert within which people do something about it.
const LONGEST: usize = 120;

pub struct People {
    codec: Codec,
    /// Of each partition the output to be read next.
    next: BTreeMap<u32, u64>,
}

impl People {
    pub fn new(ward: &Ward) -> Self {
        People { codec: codec(&ward.config), next: BTreeMap::new() }
    }

    /// What is done about the alerts that have left since this was last asked.
    pub fn react(&mut self, partition: u32, appended_at: WallTime, world: &World) -> Vec<Logged> {
        let next = self.next.entry(partition).or_default();
        let mut alerts: Vec<AlertRecord> = Vec::new();
        for (offset, entry) in world.log.borrow().committed(Place::Output(partition), *next) {
            *next = offset + 1;
            if let Entry::Output(output) = entry
                && output.kind == OutputKind::Alert
            {
                alerts.push(self.codec.decode(&output.payload).unwrap());
            }
        }
        let mut done = Vec::new();
        for alert in alerts {
            if !world.chance(INTEREST) {
                continue;
            }
            world.count("person acted");
            let act = act(&alert, world);
            let logged = records::act(act, &world.config, &self.codec, appended_at);
            if world.chance(TWICE) {
                done.push(logged.clone());
            }
            done.push(logged);
        }
        done
    }
}

fn act(alert: &AlertRecord, world: &World) -> Act {
    let id = alert.alert_id;
    let deed = match world.below(12) {
        0..4 => Deed::Acknowledge(id),
        4..6 => Deed::Action(id),
        6..8 => Deed::Dismiss(id, Word::new("palliative").unwrap()),
        8..10 => Deed::Snooze(id, Snooze::ALL[world.below(Snooze::ALL.len())]),
        10 => Deed::Suppress(Suppression::ComfortCare),
        _ => Deed::Release,
    };
    let at = alert.known_at + Span::minutes(world.below(LONGEST) as i64);
    let name = format!("about {}", alert.event_id);
    let role = Word::new("physician");
    Act { id: fact_id(&name).0, stay: alert.stay_id, deed, by: By { role, at } }
}

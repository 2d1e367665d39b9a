//! What has left, held against what must have left.

use std::collections::{BTreeMap, BTreeSet};

use nowcxr::drive::Counts;
use nowcxr::engine::PredictionRequest;
use nowcxr::event::risk::Status;
use nowcxr::event::{Reason, Rejection};
use nowcxr::ids::Topic;
use nowcxr::ports::{Output, OutputKind};
use nowcxr::wire::{AlertRecord, Codec, DeadLetter};

use super::{Evidence, Expected, Fate, Said, counted, each_once};

/// What a task has left behind.
pub struct Found<'a> {
    pub outputs: Vec<Output>,
    pub counts: &'a Counts,
    /// What the model was asked, by whoever ran the task.
    pub asked: Vec<PredictionRequest>,
}

/// `Err` says what is wrong first.
pub fn judge(evidence: &Evidence<'_>, found: &Found<'_>, codec: &Codec) -> Result<(), String> {
    let expected = evidence.expected();
    if !each_once(&expected.fates) {
        return Err("the judge himself decided a record twice".to_owned());
    }
    let n_open = expected.questions.len();
    let counts = found.counts;
    equal("fates", &counts.fates, &counted(&expected.fates))?;
    equal("reasons", &counts.rejected, &reasons(&expected))?;
    equal("sealed windows", &counts.sealed, &(n_open as u64))?;
    equal("ends", &counts.ended, &expected.ended)?;
    equal("expiries", &counts.expired, &expected.expired)?;
    outputs(&expected, found, codec)?;
    equal("events", &counts.events, &statuses(&expected))?;
    equal("alerts", &counts.alerts, &raised(&expected))?;
    questions(&expected, found)
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, want: &T) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{what}: counted {got:?}, must {want:?}")) }
}

fn reasons(expected: &Expected) -> BTreeMap<(Topic, Reason), u64> {
    let mut counts = BTreeMap::new();
    for (origin, fate) in &expected.fates {
        if let Fate::Rejected(reason) = fate {
            *counts.entry((origin.topic, *reason)).or_default() += 1;
        }
    }
    counts
}

fn statuses(expected: &Expected) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for said in &expected.said {
        let Said::Risk(event) = said else { continue };
        let name = match event.status {
            Status::Scored => "scored",
            Status::Degraded { .. } => "degraded",
            Status::Unscored { .. } if event.stay_end.is_some() => "closing",
            Status::Unscored { .. } => "unscored",
            Status::Retracted => "retracted",
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// Alerts raised, by what they are about.
fn raised(expected: &Expected) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for said in &expected.said {
        if let Said::Alert(event) = said
            && event.revision == 0
        {
            *counts.entry(event.claim.subject().name()).or_default() += 1;
        }
    }
    counts
}

/// Payloads in the order in which they leave: of one stay for risk events, views and alerts, none
/// for letters, whose order nobody needs.
type Stream = (OutputKind, Option<u64>);

fn outputs(expected: &Expected, found: &Found<'_>, codec: &Codec) -> Result<(), String> {
    let mut want: BTreeMap<Stream, Vec<Vec<u8>>> = BTreeMap::new();
    for said in &expected.said {
        let (kind, stay, payload) = payload_of(said, codec);
        want.entry((kind, stay)).or_default().push(payload);
    }
    let mut got: BTreeMap<Stream, Vec<Vec<u8>>> = BTreeMap::new();
    for output in &found.outputs {
        let is_letter = output.kind == OutputKind::DeadLetter;
        let stay = output.stay.map(|stay| stay.0).filter(|_| !is_letter);
        let payload =
            if is_letter { plain_letter(&output.payload, codec)? } else { output.payload.clone() };
        got.entry((output.kind, stay)).or_default().push(payload);
    }
    for streams in [&mut want, &mut got] {
        for ((kind, _), payloads) in streams.iter_mut() {
            if *kind == OutputKind::DeadLetter {
                payloads.sort();
            }
        }
    }
    let names: BTreeSet<Stream> = want.keys().chain(got.keys()).copied().collect();
    for name in names {
        let (want, got) =
            (want.remove(&name).unwrap_or_default(), got.remove(&name).unwrap_or_default());
        if want != got {
            return Err(difference(name, &want, &got, codec));
        }
    }
    Ok(())
}

fn difference((kind, stay): Stream, want: &[Vec<u8>], got: &[Vec<u8>], codec: &Codec) -> String {
    let seen: BTreeSet<&Vec<u8>> = got.iter().collect();
    let due: BTreeSet<&Vec<u8>> = want.iter().collect();
    let missing = want.iter().filter(|payload| !seen.contains(payload)).count();
    let extra = got.iter().filter(|payload| !due.contains(payload)).count();
    let doubled = got.len() - seen.len();
    let first = want.iter().zip(got).position(|(a, b)| a != b);
    let place = first.unwrap_or(want.len().min(got.len()));
    let tell = |payload: Option<&Vec<u8>>| match (kind, payload) {
        (_, None) => "nothing".to_owned(),
        (OutputKind::Risk, Some(bytes)) => format!("{:?}", codec.decode_risk(bytes)),
        (OutputKind::View, Some(bytes)) => format!("{:?}", codec.decode_view(bytes)),
        (OutputKind::Alert, Some(bytes)) => format!("{:?}", codec.decode::<AlertRecord>(bytes)),
        (_, Some(bytes)) => format!("{:?}", codec.decode::<DeadLetter>(bytes)),
    };
    let (must, is) = part(&tell(want.get(place)), &tell(got.get(place)));
    format!(
        "{kind:?} of stay {stay:?}: {missing} missing, {extra} extra, {doubled} doubled of {} \
         expected and {} found; first at {place}:\n  must be {}\n  but is  {}",
        want.len(),
        got.len(),
        must,
        is,
    )
}

/// Two texts from a little before where they part.
fn part(a: &str, b: &str) -> (String, String) {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let from = |text: &str| text.chars().skip(same.saturating_sub(60)).take(400).collect();
    (from(a), from(b))
}

fn payload_of(said: &Said, codec: &Codec) -> (OutputKind, Option<u64>, Vec<u8>) {
    match said {
        Said::Risk(event) => {
            (OutputKind::Risk, Some(event.stay.0), codec.encode_risk(event).unwrap())
        }
        Said::View(view) => {
            (OutputKind::View, Some(view.event.stay.0), codec.encode_view(view).unwrap())
        }
        Said::Alert(event) => {
            (OutputKind::Alert, Some(event.stay.0), codec.encode_alert(event).unwrap())
        }
        Said::Letter { origin, stay, reason, raw } => {
            let known = stay.map(|stay| stay.to_string().into_bytes());
            let key = raw.as_ref().map_or(known, |raw| raw.key.as_ref().map(|key| key.to_vec()));
            let value = raw.as_ref().map_or(&[][..], |raw| &raw.value);
            let rejection = Rejection::new(*reason, "");
            let letter = DeadLetter::new(*origin, key.as_deref(), value, &rejection);
            (OutputKind::DeadLetter, None, codec.encode(&letter).unwrap())
        }
    }
}

/// A letter without its detail, which is prose.
fn plain_letter(payload: &[u8], codec: &Codec) -> Result<Vec<u8>, String> {
    let letter = codec.decode::<DeadLetter>(payload).map_err(|e| e.to_string())?;
    let plain = DeadLetter { detail: String::new(), ..letter };
    codec.encode(&plain).map_err(|e| e.to_string())
}

/// Whatever the model was asked is a sealed window, over exactly its cut, each time the same.
fn questions(expected: &Expected, found: &Found<'_>) -> Result<(), String> {
    for asked in &found.asked {
        let Some(want) = expected.questions.get(&asked.ticket) else {
            return Err(format!("{} was asked and is no window", asked.ticket));
        };
        let film = asked.film.as_ref().map(|film| film.digest());
        let plain = PredictionRequest { film: None, ..asked.clone() };
        if plain != *want {
            return Err(format!("asked {plain:?}\n  must be {want:?}"));
        }
        let wanted = expected.films.get(&asked.ticket).copied();
        if film != wanted {
            return Err(format!("{}: asked with film {film:?}, not {wanted:?}", asked.ticket));
        }
    }
    Ok(())
}

//! The journal's records: what entered `step` and came from no input topic, with the positions
//! after which it was stepped. Inputs and journal together determine every output.

use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::codec::{Codec, Record, does_not_hold};
use super::form;
use super::risk::ScoresRecord;
use super::schemas::{RecordKind, WireError};
use crate::event::risk::Scores;
use crate::event::{Film, Mark, Reason, Rejection, ViewPosition};
use crate::ids::{Digest, FactId, Position, StayId, Ticket, Topic};
use crate::ports::{Answer, JournalRecord, Outcome};
use crate::time::EventTime;

/// A journalled input.
#[derive(Clone, Debug, PartialEq)]
pub enum JournalInput {
    Answer(Answer),
    /// No answer came in time.
    Deadline(Ticket),
    /// A mark made for a feed that fell silent.
    DerivedMark(Mark),
    /// A mark made for a feed whose producer sends none. It holds like the feed's own.
    Mark(Mark),
    FilmVerdict(FilmVerdict),
    Command(Command),
}

/// What became of a film that was fetched by reference.
#[derive(Clone, Debug, PartialEq)]
pub struct FilmVerdict {
    pub stay: StayId,
    /// The imaging event that referred to it.
    pub fact: FactId,
    pub verdict: Result<Film, Rejection>,
}

/// What an operator asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    #[serde(with = "form")]
    pub command_id: Uuid,
    #[serde(rename = "stay_id", with = "form")]
    pub stay: StayId,
    /// The moment of the patient to which it applies.
    #[serde(with = "form")]
    pub at: EventTime,
    pub kind: CommandKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// Close a window now.
    RequestWindow,
}

/// `schemas/journal.avsc`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    pub after: Vec<PositionRecord>,
    pub input: InputRecord,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Position")]
pub struct PositionRecord {
    pub topic: Topic,
    pub partition: i32,
    pub next: i64,
}

/// The branches of the schema's union, in its order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputRecord {
    Answer(AnswerRecord),
    Deadline(DeadlineRecord),
    DerivedMark(DerivedMarkRecord),
    FilmVerdict(FilmVerdictRecord),
    Command(Command),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Answer")]
pub struct AnswerRecord {
    pub ticket: TicketRecord,
    pub epoch: i64,
    pub outcome: OutcomeKind,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub scores: Option<ScoresRecord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    Scored,
    Degraded,
    Unscored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Deadline")]
pub struct DeadlineRecord {
    pub ticket: TicketRecord,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Ticket")]
pub struct TicketRecord {
    #[serde(with = "form")]
    pub stay_id: StayId,
    #[serde(with = "form")]
    pub t: EventTime,
    pub revision: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "DerivedMark")]
pub struct DerivedMarkRecord {
    pub feed: String,
    #[serde(with = "form")]
    pub time: EventTime,
    /// Until this was written, every such mark passed its feed over.
    #[serde(default = "holds")]
    pub passed_over: bool,
}

const fn holds() -> bool {
    true
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "FilmVerdict")]
pub struct FilmVerdictRecord {
    #[serde(with = "form")]
    pub stay_id: StayId,
    #[serde(with = "form")]
    pub fact_id: FactId,
    #[serde(default, with = "form::option")]
    pub digest: Option<Digest>,
    #[serde(default)]
    pub view: Option<ViewPosition>,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub detail: Option<String>,
}

impl Record for JournalEntry {
    const KIND: RecordKind = RecordKind::Journal;
}

impl Codec {
    /// The record of `input`, stepped after `after` had been read.
    pub fn encode_journal(
        &self,
        after: &[Position],
        input: &JournalInput,
    ) -> Result<JournalRecord, WireError> {
        let positions = after.iter().map(position_record).collect::<Result<_, _>>()?;
        let entry = JournalEntry { after: positions, input: self.input_record(input)? };
        Ok(JournalRecord { after: after.to_vec(), input: self.encode(&entry)? })
    }

    /// The positions and the input of a framed journal record.
    pub fn decode_journal(&self, bytes: &[u8]) -> Result<(Vec<Position>, JournalInput), Rejection> {
        let entry = self.decode::<JournalEntry>(bytes)?;
        let after = entry.after.iter().map(position).collect::<Result<_, _>>()?;
        let input = match entry.input {
            InputRecord::Answer(answer) => JournalInput::Answer(answer_of(answer)?),
            InputRecord::Deadline(deadline) => JournalInput::Deadline(deadline.ticket.into()),
            InputRecord::DerivedMark(DerivedMarkRecord { feed, time, passed_over }) => {
                let mark = Mark { feed: self.feed_named(&feed)?, time };
                match passed_over {
                    true => JournalInput::DerivedMark(mark),
                    false => JournalInput::Mark(mark),
                }
            }
            InputRecord::FilmVerdict(verdict) => JournalInput::FilmVerdict(verdict_of(verdict)?),
            InputRecord::Command(command) => JournalInput::Command(command),
        };
        Ok((after, input))
    }

    fn input_record(&self, input: &JournalInput) -> Result<InputRecord, WireError> {
        Ok(match input {
            JournalInput::Answer(answer) => InputRecord::Answer(answer_record(answer)?),
            JournalInput::Deadline(ticket) => {
                InputRecord::Deadline(DeadlineRecord { ticket: (*ticket).into() })
            }
            JournalInput::DerivedMark(mark) => self.derived_mark(*mark, true)?,
            JournalInput::Mark(mark) => self.derived_mark(*mark, false)?,
            JournalInput::FilmVerdict(verdict) => InputRecord::FilmVerdict(verdict_record(verdict)),
            JournalInput::Command(command) => InputRecord::Command(*command),
        })
    }

    fn derived_mark(&self, mark: Mark, passed_over: bool) -> Result<InputRecord, WireError> {
        let feed = self.feeds.get(usize::from(mark.feed.0));
        let feed = feed.ok_or_else(|| cannot_write("the feed is not configured"))?;
        let (feed, time) = (feed.name.clone(), mark.time);
        Ok(InputRecord::DerivedMark(DerivedMarkRecord { feed, time, passed_over }))
    }
}

fn cannot_write(cause: &str) -> WireError {
    WireError::Encode { record: RecordKind::Journal.name(), cause: cause.to_owned() }
}

fn position_record(position: &Position) -> Result<PositionRecord, WireError> {
    Ok(PositionRecord {
        topic: position.topic,
        partition: i32::try_from(position.partition)
            .map_err(|_| cannot_write("partition above 2^31 - 1"))?,
        next: i64::try_from(position.next).map_err(|_| cannot_write("offset above 2^63 - 1"))?,
    })
}

fn position(record: &PositionRecord) -> Result<Position, Rejection> {
    match (u32::try_from(record.partition), u64::try_from(record.next)) {
        (Ok(partition), Ok(next)) => Ok(Position { topic: record.topic, partition, next }),
        _ => Err(does_not_hold("a position is negative".into())),
    }
}

impl From<Ticket> for TicketRecord {
    fn from(ticket: Ticket) -> Self {
        TicketRecord { stay_id: ticket.stay, t: ticket.t, revision: ticket.revision }
    }
}

impl From<TicketRecord> for Ticket {
    fn from(ticket: TicketRecord) -> Self {
        Ticket { stay: ticket.stay_id, t: ticket.t, revision: ticket.revision }
    }
}

fn answer_record(answer: &Answer) -> Result<AnswerRecord, WireError> {
    let (outcome, scores, reason) = match &answer.outcome {
        Outcome::Scored(scores) => (OutcomeKind::Scored, Some(scores), None),
        Outcome::Degraded(scores, reason) => (OutcomeKind::Degraded, Some(scores), Some(reason)),
        Outcome::Unscored(reason) => (OutcomeKind::Unscored, None, Some(reason)),
    };
    Ok(AnswerRecord {
        ticket: answer.ticket.into(),
        epoch: i64::try_from(answer.epoch).map_err(|_| cannot_write("epoch above 2^63 - 1"))?,
        outcome,
        reason: reason.cloned(),
        scores: scores.map(ScoresRecord::from),
    })
}

fn answer_of(record: AnswerRecord) -> Result<Answer, Rejection> {
    let scores = record.scores.map(Scores::try_from).transpose()?;
    let reason = record.reason.unwrap_or_default();
    let outcome = match (record.outcome, scores) {
        (OutcomeKind::Scored, Some(scores)) => Outcome::Scored(scores),
        (OutcomeKind::Degraded, Some(scores)) => Outcome::Degraded(scores, reason),
        (OutcomeKind::Unscored, _) => Outcome::Unscored(reason),
        (_, None) => return Err(does_not_hold("a scored answer has no scores".into())),
    };
    let epoch =
        u64::try_from(record.epoch).map_err(|_| does_not_hold("the epoch is negative".into()))?;
    Ok(Answer { ticket: record.ticket.into(), epoch, outcome })
}

fn verdict_record(verdict: &FilmVerdict) -> FilmVerdictRecord {
    let film = verdict.verdict.as_ref().ok();
    let rejection = verdict.verdict.as_ref().err();
    FilmVerdictRecord {
        stay_id: verdict.stay,
        fact_id: verdict.fact,
        digest: film.map(|film| film.digest),
        view: film.map(|film| film.view),
        reason: rejection.map(|rejection| rejection.reason.code().to_owned()),
        detail: rejection.map(|rejection| rejection.detail.clone()),
    }
}

fn verdict_of(record: FilmVerdictRecord) -> Result<FilmVerdict, Rejection> {
    let verdict = match (record.digest, record.view, record.reason) {
        (Some(digest), Some(view), None) => Ok(Film { digest, view }),
        (None, None, Some(code)) => {
            Err(Rejection::new(reason_of(&code)?, record.detail.unwrap_or_default()))
        }
        _ => return Err(does_not_hold("a verdict is neither a film nor a reason".into())),
    };
    Ok(FilmVerdict { stay: record.stay_id, fact: record.fact_id, verdict })
}

fn reason_of(code: &str) -> Result<Reason, Rejection> {
    let code: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        code.into_deserializer();
    Reason::deserialize(code).map_err(|_| does_not_hold("the reason code is unknown".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EngineConfig;
    use crate::event::dictionary::{Dictionary, Profile};
    use crate::event::risk::{Contribution, Generation, Interval, N_PHENOTYPES, Probability};
    use crate::ids::FeedId;

    fn codec() -> Codec {
        let dictionary = Dictionary::builtin(Profile::Clinical).expect("dictionary");
        Codec::new(&EngineConfig::default().feeds, dictionary).expect("codec")
    }

    fn at(ms: i64) -> EventTime {
        EventTime::from_millis(ms)
    }

    fn inputs() -> Vec<JournalInput> {
        let p = |p| Probability::new(p).expect("probability");
        let scores = Scores {
            mortality: p(0.25),
            mortality_raw: p(0.75),
            mortality_interval: Interval::new(p(0.125), p(0.5)),
            phenotypes: [p(0.5); N_PHENOTYPES],
            carry_forward: None,
            ehr_only: Some(p(0.125)),
            generation: Some(Generation { evaluations: 20, seed: u64::MAX - 1, latent_rms: 0.9 }),
            attribution: vec![Contribution { variable: "spo2".into(), change: -0.25 }],
        };
        let ticket = Ticket { stay: StayId(3), t: at(4_000_000_000_000), revision: 2 };
        let answer = |outcome| JournalInput::Answer(Answer { ticket, epoch: 7, outcome });
        let verdict = |verdict| {
            let (stay, fact) = (StayId(3), FactId::from_name("film"));
            JournalInput::FilmVerdict(FilmVerdict { stay, fact, verdict })
        };
        let film = Film { digest: Digest::of(b"film"), view: ViewPosition::Ap };
        let command = Command {
            command_id: Uuid::from_u128(5),
            stay: StayId(3),
            at: at(9),
            kind: CommandKind::RequestWindow,
        };
        vec![
            answer(Outcome::Scored(scores.clone())),
            answer(Outcome::Degraded(scores, "no film".into())),
            answer(Outcome::Unscored("model failed".into())),
            JournalInput::Deadline(ticket),
            JournalInput::DerivedMark(Mark { feed: FeedId(2), time: at(5) }),
            JournalInput::Mark(Mark { feed: FeedId(2), time: at(5) }),
            verdict(Ok(film)),
            verdict(Err(Rejection::new(Reason::FilmNotChest, "flat"))),
            JournalInput::Command(command),
        ]
    }

    #[test]
    fn every_input_round_trips_with_its_positions() {
        let codec = codec();
        let after = vec![
            Position { topic: Topic::Stay, partition: 0, next: 4 },
            Position { topic: Topic::Vital, partition: 3, next: 1 << 40 },
        ];
        for input in inputs() {
            let record = codec.encode_journal(&after, &input).expect("encodes");
            assert_eq!(record.after, after);
            let (positions, back) = codec.decode_journal(&record.input).expect("decodes");
            assert_eq!((positions, back), (after.clone(), input));
            for end in 0..record.input.len() {
                assert!(codec.decode_journal(&record.input[..end]).is_err());
            }
        }
    }

    #[test]
    fn a_mark_of_an_older_version_passed_its_feed_over() {
        let (codec, mark) = (codec(), Mark { feed: FeedId(2), time: at(5) });
        let mut bytes =
            codec.encode_journal(&[], &JournalInput::Mark(mark)).expect("encodes").input;
        // Under its id a record ended where the new field begins now.
        assert_eq!((bytes.pop(), bytes[..5].to_vec()), (Some(0), vec![0, 0, 0, 0, 15]));
        bytes[4] = 6;
        let (_, input) = codec.decode_journal(&bytes).expect("decodes");
        assert_eq!(input, JournalInput::DerivedMark(mark));
    }

    #[test]
    fn an_unconfigured_feed_and_a_huge_offset_are_errors() {
        let codec = codec();
        let mark = JournalInput::DerivedMark(Mark { feed: FeedId(200), time: at(5) });
        assert!(codec.encode_journal(&[], &mark).is_err());
        let far = Position { topic: Topic::Lab, partition: 0, next: u64::MAX };
        assert!(codec.encode_journal(&[far], &inputs()[3]).is_err());
    }

    #[test]
    fn every_reason_is_written_by_its_code() {
        for reason in [Reason::Undecodable, Reason::NotANumber, Reason::MalformedRow] {
            assert_eq!(reason_of(reason.code()).expect("known"), reason);
        }
        assert!(reason_of("no_such_reason").is_err());
    }
}

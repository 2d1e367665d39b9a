//! The recording as one stream: everything is read, sorted once by availability, and then told in
//! order with marks in between.

use std::collections::BTreeMap;

use super::config::ReplayConfig;
use super::error::ReplayError;
use super::intake::{self, Arrival, Intake, Payload, Shift, Spilled};
use super::item::{Body, FilmTaken, Measured, MimicTable, RejectedRow, ReplayEvent, ReplayItem};
use super::mimic::items::ItemFilter;
use super::mimic::labels::{self, Label};
use super::mimic::stays::Stays;
use super::mimic::tree::Tree;
use super::mimic::{charts, films, labs, transfers};
use super::progress::Progress;
use super::reconcile::Reconciliation;
use super::sort::{Key, Sorted};
use crate::event::{RawValue, Reason, Rejection};
use crate::ids::{Digest, StayId};
use crate::time::{EventTime, Span};

/// A recording in total order: (available_at, topic, stay, item, event id, table, row).
pub struct ReplaySource {
    tree: Tree,
    stays: Stays,
    specimens: BTreeMap<u32, String>,
    labels: Vec<Label>,
    counts: Reconciliation,
    sorted: Sorted,
    marks: Marks,
    /// Waits for the marks that come before it.
    pending: Option<ReplayItem>,
    data: Digest,
}

impl ReplaySource {
    /// Reads and sorts the recording; this is the long part. `report` is called every 100,000 rows
    /// of the large tables.
    pub fn open(
        config: &ReplayConfig,
        items: &ItemFilter,
        report: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<Self, ReplayError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(ReplayError::Config(problems.join("; ")));
        }
        let tree = Tree::open(&config.mimic_iv, config.mimic_cxr.as_deref())?;
        let (mut stays, stay_rows, bad_stays) = Stays::read(&tree.iv, config)?;
        choose(&mut stays, config, &tree)?;
        let listed = config.cohort.stays_file.is_some();
        let mut intake = Intake::new(config, &stays)?;
        intake.counts.table(MimicTable::IcuStays).rows = stay_rows;
        for row in bad_stays {
            intake.reject_at(EventTime::MIN, row)?;
        }
        push_stays(&mut intake)?;
        transfers::read(&tree, &mut intake)?;
        films::read(&tree, &mut intake)?;
        let mut reporter = Reporter::new(&tree, report);
        labs::read(&tree, items, &mut intake, &mut |rows, bytes| {
            reporter.tell(MimicTable::LabEvents, rows, bytes);
        })?;
        charts::read(&tree, items, &mut intake, &mut |rows, bytes| {
            reporter.tell(MimicTable::ChartEvents, rows, bytes);
        })?;
        let (sorter, counts) = intake.finish();
        Ok(ReplaySource {
            specimens: labs::specimens(&tree, items)?,
            labels: labels::read(&tree, &stays, Shift::new(config.anchor, &stays))?,
            data: data_digest(&tree, listed.then_some(&stays)),
            sorted: sorter.finish()?,
            marks: Marks::new(config.mark_every),
            pending: None,
            tree,
            stays,
            counts,
        })
    }

    /// The next item; `None` after the final mark.
    pub fn next_item(&mut self) -> Result<Option<ReplayItem>, ReplayError> {
        if self.pending.is_none() {
            self.pending = self.next_sorted()?;
        }
        let mark = match &self.pending {
            Some(ReplayItem::Event(event)) => self.marks.before(event.available_at),
            Some(_) => None,
            None => return Ok(self.marks.last().map(ReplayItem::Mark)),
        };
        if let Some(mark) = mark {
            return Ok(Some(ReplayItem::Mark(mark)));
        }
        if let Some(ReplayItem::Event(event)) = &self.pending {
            self.marks.passed(event.available_at);
        }
        Ok(self.pending.take())
    }

    /// Whether the final mark was given.
    pub fn has_ended(&self) -> bool {
        self.marks.ended
    }

    /// The stays of the data set.
    pub fn stays(&self) -> &Stays {
        &self.stays
    }

    /// The truth about the cohort, in order of when it became known.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// What became of every row.
    pub fn counts(&self) -> &Reconciliation {
        &self.counts
    }

    pub(super) fn counts_mut(&mut self) -> &mut Reconciliation {
        &mut self.counts
    }

    /// Where the films lie.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Digest of the names and lengths of the files, to notice that they are others; and of the
    /// stays, where a file lists them.
    pub fn data_digest(&self) -> Digest {
        self.data
    }

    fn next_sorted(&mut self) -> Result<Option<ReplayItem>, ReplayError> {
        let Some((key, record)) = self.sorted.next()? else { return Ok(None) };
        let spilled = intake::decode(record)?;
        item(&key, &spilled, &self.stays, &self.specimens).map(Some)
    }
}

/// Applies the cohort's conditions.
fn choose(stays: &mut Stays, config: &ReplayConfig, tree: &Tree) -> Result<(), ReplayError> {
    let cohort = &config.cohort;
    if let Some(path) = &cohort.stays_file {
        let problem = |what: String| ReplayError::Config(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
        let ids = super::config::Cohort::parse_stays(&text).map_err(problem)?;
        let unknown = ids.iter().filter(|id| stays.by_id(**id).is_none()).count();
        if unknown > 0 {
            tracing::warn!(unknown, "stay ids of the cohort file are not in icustays");
        }
        stays.choose(|stay| ids.binary_search(&stay.id).is_ok());
    }
    if let Some(unit) = &cohort.care_unit {
        stays.choose(|stay| stay.admission.unit.contains(unit));
    }
    if let Some(least) = cohort.min_stay {
        stays.choose(|stay| stay.outtime.since(stay.intime) >= least);
    }
    if cohort.with_film {
        let with_film = films::stays_with_film(tree, stays)?;
        stays.choose(|stay| with_film.contains(&stay.id));
    }
    if let Some(limit) = cohort.limit {
        let mut left = limit;
        stays.choose(|_| left.checked_sub(1).map(|n| left = n).is_some());
    }
    Ok(())
}

/// Admission and end of every stay of the cohort, each available when it happened.
fn push_stays(intake: &mut Intake<'_>) -> Result<(), ReplayError> {
    let stays = intake.stays;
    for (index, stay) in stays.all().iter().enumerate() {
        let counts = intake.counts.table(MimicTable::IcuStays);
        if !stay.chosen {
            counts.not_in_cohort += 1;
            continue;
        }
        counts.emitted += 1;
        let ends = [
            ("admitted", 0, stay.intime, Payload::Admitted),
            ("discharged", 2, stay.ends_at, Payload::Discharged),
        ];
        for (what, rank, at, payload) in ends {
            intake.push(Arrival {
                table: MimicTable::IcuStays,
                row: stay.row,
                stay: index,
                name: format!("icustays/{}/{what}", stay.id).as_bytes(),
                rank,
                observed_at: at,
                available_at: at,
                payload,
            })?;
        }
    }
    Ok(())
}

/// A sorted record as it was before it was sorted.
fn item(
    key: &Key,
    spilled: &Spilled<'_>,
    stays: &Stays,
    specimens: &BTreeMap<u32, String>,
) -> Result<ReplayItem, ReplayError> {
    let unknown = || ReplayError::Encode { topic: "sort", problem: "unknown table".into() };
    let table = MimicTable::from_code(key.table).ok_or_else(unknown)?;
    let stay_id = intake::stay_id(key);
    let measured = |value, unit: &str| {
        let unit = (!unit.is_empty()).then(|| unit.to_owned());
        let specimen = specimens.get(&key.rank).filter(|_| table == MimicTable::LabEvents).cloned();
        let measured = Measured { item: key.rank, value, unit, specimen };
        if table == MimicTable::LabEvents { Body::Lab(measured) } else { Body::Chart(measured) }
    };
    let stay = stays.by_id(stay_id);
    let body = match (spilled.payload, stay) {
        (Payload::Rejected { stay, reason, detail }, _) => {
            let (stay, rejection) = (stay.map(StayId), Rejection::new(reason, detail));
            return Ok(ReplayItem::Rejected(RejectedRow { table, row: key.row, stay, rejection }));
        }
        (Payload::Admitted, Some(stay)) => Body::Admitted(stay.admission.clone()),
        (Payload::Discharged, Some(stay)) => Body::Discharged { disposition: stay.disposition },
        (Payload::Admitted | Payload::Discharged, None) => {
            let rejection = Rejection::new(Reason::MissingKey, "no such stay");
            let stay = Some(stay_id);
            return Ok(ReplayItem::Rejected(RejectedRow { table, row: key.row, stay, rejection }));
        }
        (Payload::Transferred { unit }, _) => Body::Transferred { unit: unit.to_owned() },
        (Payload::Number { value, unit }, _) => measured(RawValue::Number(value), unit),
        (Payload::Text { value, unit }, _) => measured(RawValue::Text(value.to_owned()), unit),
        (Payload::Filmed { view, dicom, subject, study }, _) => {
            Body::Filmed(FilmTaken { view, dicom: dicom.to_owned(), subject, study })
        }
    };
    Ok(ReplayItem::Event(ReplayEvent {
        id: intake::fact_id(key),
        stay: stay_id,
        observed_at: EventTime::from_millis(spilled.observed_ms),
        available_at: EventTime::from_millis(key.available_ms),
        row: key.row,
        body,
    }))
}

fn data_digest(tree: &Tree, listed: Option<&Stays>) -> Digest {
    let mut text = String::new();
    for table in MimicTable::ALL {
        let length = tree.length(table).unwrap_or(0);
        text.push_str(&format!("{} {length}\n", table.name()));
    }
    for stay in listed.into_iter().flat_map(Stays::chosen) {
        text.push_str(&format!("{}\n", stay.id));
    }
    Digest::of(text.as_bytes())
}

/// From the last event to the last mark: longer than a fact waits for its admission and than an
/// open stay may be silent.
const AFTERMATH: Span = Span::hours(48);

/// When the feeds promise that they have said everything up to a time. Marks stand at multiples of
/// `every`: one soon after something happened and one right before the next event, so that a pause
/// of years costs two marks and not millions.
struct Marks {
    every: i64,
    told: EventTime,
    last_event: Option<EventTime>,
    ended: bool,
}

impl Marks {
    fn new(every: Span) -> Self {
        Marks {
            every: every.as_millis().max(1),
            told: EventTime::MIN,
            last_event: None,
            ended: false,
        }
    }

    /// A mark that is due before an event that becomes available at `at`.
    fn before(&mut self, at: EventTime) -> Option<EventTime> {
        let multiple = |n: i64| EventTime::from_millis(n.saturating_mul(self.every));
        let latest = multiple((at.as_millis().saturating_sub(1)).div_euclid(self.every));
        let soon = self.last_event.map(|last| {
            multiple(last.as_millis().saturating_add(self.every - 1).div_euclid(self.every))
        });
        let mark = match soon {
            Some(soon) if soon > self.told && soon <= latest => soon,
            _ => latest,
        };
        if mark <= self.told {
            return None;
        }
        self.told = mark;
        Some(mark)
    }

    /// An event was told.
    fn passed(&mut self, at: EventTime) {
        self.last_event = Some(at);
    }

    /// The mark that ends the recording, once: far enough behind the last event that whatever
    /// waits is decided, and near enough that the last stays can still be looked at.
    fn last(&mut self) -> Option<EventTime> {
        let last_event = self.last_event.filter(|_| !self.ended)?;
        self.ended = true;
        self.told = last_event + AFTERMATH;
        Some(self.told)
    }
}

struct Reporter<'a> {
    report: &'a mut dyn FnMut(&Progress<'_>),
    lengths: BTreeMap<MimicTable, u64>,
}

impl<'a> Reporter<'a> {
    fn new(tree: &Tree, report: &'a mut dyn FnMut(&Progress<'_>)) -> Self {
        let large = [MimicTable::LabEvents, MimicTable::ChartEvents];
        let lengths = large.map(|table| (table, tree.length(table).unwrap_or(0)));
        Reporter { report, lengths: BTreeMap::from(lengths) }
    }

    fn tell(&mut self, table: MimicTable, rows: u64, bytes_read: u64) {
        let before: u64 =
            self.lengths.iter().filter(|(other, _)| **other < table).map(|(_, n)| n).sum();
        (self.report)(&Progress {
            table: table.name(),
            rows,
            bytes_read,
            bytes_read_in_all: before + bytes_read,
            bytes_in_all: self.lengths.values().sum(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(m: i64) -> EventTime {
        EventTime::from_millis(m * 60_000)
    }

    fn told(events: &[i64]) -> Vec<EventTime> {
        let mut marks = Marks::new(Span::minutes(5));
        let mut all = Vec::new();
        for &event in events {
            while let Some(mark) = marks.before(minute(event)) {
                assert!(mark < minute(event), "a mark promises that nothing at {mark} follows");
                all.push(mark);
            }
            marks.passed(minute(event));
        }
        all.extend(marks.last());
        assert_eq!(marks.last(), None);
        all
    }

    #[test]
    fn marks_stand_at_multiples_after_and_before_events() {
        assert_eq!(
            told(&[1, 2, 7, 187, 190, 191]),
            [0, 5, 10, 185, 190]
                .map(minute)
                .into_iter()
                .chain([minute(191) + AFTERMATH])
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn marks_never_go_back_or_repeat() {
        let all = told(&[5, 5, 5, 6, 10, 10, 1_000_000, 1_000_000]);
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    }
}

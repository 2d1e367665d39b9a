//! The replay on MIMIC-IV's open demo with the simulated pairing of films. These tests need the
//! shared data and say so where they are not there.

use std::path::{Path, PathBuf};

use nowcxr::event::{Disposition, Reason, ViewPosition};
use nowcxr::ids::{StayId, Topic};
use nowcxr::ports::PortError;
use nowcxr::replay::{
    Body, EngineCounts, MimicTable, RejectedRow, ReplayConfig, ReplayItem, ReplaySink, ReplaySource,
};
use nowcxr::wire::{Codec, Decoded};

use super::{all, codec, items, player};

fn shared() -> Option<PathBuf> {
    let beside = || Some(Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join("shared"));
    let dir = std::env::var_os("NOWCXR_SHARED").map(PathBuf::from).or_else(beside)?;
    let found = dir.join("data/mimic-iv-demo-2.2").is_dir();
    if !found {
        println!("skipped: the open data are not in {}", dir.display());
    }
    found.then_some(dir)
}

fn demo(shared: &Path) -> ReplayConfig {
    ReplayConfig {
        mimic_iv: shared.join("data/mimic-iv-demo-2.2"),
        mimic_cxr: Some(shared.join("data/mimic-cxr-simulated-pairing")),
        ..ReplayConfig::default()
    }
}

#[test]
fn the_open_demo_reconciles() {
    let Some(shared) = shared() else { return };
    let started = std::time::Instant::now();
    let mut last = None;
    let mut source = ReplaySource::open(&demo(&shared), &items(), &mut |progress| {
        last = Some((progress.rows, progress.bytes_read_in_all, progress.bytes_in_all));
    })
    .unwrap();
    println!("read and sorted in {:.2} s", started.elapsed().as_secs_f64());
    assert_eq!(last.map(|(rows, done, of)| (rows, done == of)), Some((309_195, true)));
    let (mut events, mut films) = (0, 0);
    for item in all(&mut source) {
        if let ReplayItem::Event(event) = item {
            events += 1;
            if let Body::Filmed(film) = event.body {
                films += 1;
                assert_ne!(film.view, ViewPosition::Unknown);
            }
        }
    }
    println!("{}\n{events} events, {films} films", source.counts());
    let counts = source.counts();
    assert!(counts.differences().is_empty(), "{:?}", counts.differences());
    assert_eq!(counts.of(MimicTable::LabEvents).rows, 107_727);
    assert_eq!(counts.of(MimicTable::IcuStays).emitted, 140);
    assert_eq!(counts.of(MimicTable::CxrMetadata).rows, 305);
    let died = |stay: &&nowcxr::replay::Stay| stay.disposition == Disposition::Died;
    println!("{} stays end in death", source.stays().chosen().filter(died).count());
    let deaths = source.labels().iter().filter(|label| label.died_in_hospital).count();
    assert_eq!(source.labels().len(), 140);
    println!("{deaths} stays of admissions that ended in death");
}

/// Decodes what it is given, as the engine would, and counts by fate.
struct Judge<'a> {
    codec: &'a Codec,
    counts: std::collections::BTreeMap<Topic, EngineCounts>,
    /// Values that cannot be right, or not in their unit, in words and how often.
    suspected: std::collections::BTreeMap<String, u64>,
}

impl ReplaySink for Judge<'_> {
    fn append(&mut self, topic: Topic, stay: StayId, record: &[u8]) -> Result<(), PortError> {
        let counts = self.counts.entry(topic).or_default();
        match self.codec.decode_input(topic, Some(stay.to_string().as_bytes()), record) {
            Ok(_) => counts.used += 1,
            Err(rejection) => {
                *counts.rejected.entry(rejection.reason).or_default() += 1;
                if matches!(rejection.reason, Reason::Implausible | Reason::UnitSuspect) {
                    *self.suspected.entry(rejection.to_string()).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    fn mark(&mut self, topic: Topic, record: &[u8]) -> Result<(), PortError> {
        let decoded = self.codec.decode_input(topic, None, record);
        assert!(matches!(decoded, Ok(Decoded::Mark(_))), "{decoded:?}");
        Ok(())
    }

    fn reject(&mut self, _: &RejectedRow) -> Result<(), PortError> {
        Ok(())
    }

    fn label(&mut self, _: StayId, _: &[u8]) -> Result<(), PortError> {
        Ok(())
    }
}

#[test]
fn the_open_demo_is_what_the_engine_can_read() {
    let Some(shared) = shared() else { return };
    let codec = codec();
    let mut player = player(&demo(&shared), &codec);
    let mut judge =
        Judge { codec: &codec, counts: Default::default(), suspected: Default::default() };
    player.play(&mut judge).unwrap();
    judge.suspected.iter().for_each(|(why, n)| println!("{n} × {why}"));
    let suspected: u64 = judge.suspected.values().sum();
    let used: u64 = judge.counts.values().map(|counts| counts.used).sum();
    println!("{suspected} of {} values are suspected", used + suspected);
    // None of them can be right: a mean pressure below 0, 97 °C. At most one in a thousand.
    assert!(suspected > 0 && suspected * 1_000 <= used, "{suspected} of {used}");
    let mut books = player.source().counts().clone();
    for (topic, counts) in judge.counts {
        books.enter_engine(topic, counts);
    }
    println!("{books}");
    assert!(books.differences().is_empty(), "{:?}", books.differences());
}

//! The metadata table of MIMIC-CXR: when each film was taken and from which side.

use std::collections::BTreeSet;
use std::io::Write;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::stays::Stays;
use super::table::{Row, Table};
use super::tree::Tree;
use super::value::{parse_study_time, parse_u64};
use crate::event::{Reason, Rejection, ViewPosition};
use crate::ids::StayId;
use crate::replay::config::{Clock, ReplayConfig};
use crate::replay::error::ReplayError;
use crate::replay::intake::{Arrival, Intake, Payload};
use crate::replay::item::{FilmTaken, MimicTable, parse_view};
use crate::time::{EventTime, Span};

const TABLE: MimicTable = MimicTable::CxrMetadata;
const COLUMNS: [&str; 6] =
    ["dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"];
/// Longest dicom_id that is taken for one; it becomes part of a file's name.
const MAX_DICOM_ID: usize = 80;

struct Taken {
    film: FilmTaken,
    at: EventTime,
}

fn parse(row: &Row<'_, 6>) -> Result<Taken, &'static str> {
    if row.broken {
        return Err("too few fields, or a quote that is not closed");
    }
    let dicom = row.text(0);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if dicom.is_empty() || dicom.len() > MAX_DICOM_ID || !dicom.chars().all(plain) {
        return Err("dicom_id is no name of a file");
    }
    let film = FilmTaken {
        view: parse_view(row.get(3)),
        dicom,
        subject: parse_u64(row.get(1)).ok_or("subject_id cannot be read")?,
        study: parse_u64(row.get(2)).ok_or("study_id cannot be read")?,
    };
    let at = parse_study_time(row.get(4), row.get(5));
    Ok(Taken { film, at: at.ok_or("StudyDate or StudyTime cannot be read")? })
}

fn open(tree: &Tree) -> Result<Option<Table<6>>, ReplayError> {
    match tree.place(TABLE) {
        Some((dir, name)) => Table::open(dir, name, COLUMNS).map(Some),
        None => Ok(None),
    }
}

/// The stays with an AP film from 24 h before to 48 h after admission, whichever stay the film is
/// then linked to (`reference/ddl-cxr.md` 1.3).
pub(in crate::replay) fn stays_with_film(
    tree: &Tree,
    stays: &Stays,
) -> Result<BTreeSet<StayId>, ReplayError> {
    let mut with_film = BTreeSet::new();
    let Some(mut table) = open(tree)? else { return Ok(with_film) };
    while let Some(row) = table.next_row()? {
        let Ok(taken) = parse(&row) else { continue };
        if taken.film.view != ViewPosition::Ap {
            continue;
        }
        let stays = stays.of_subject(taken.film.subject).filter(|stay| {
            taken.at >= stay.intime - Span::hours(24) && taken.at <= stay.intime + Span::hours(48)
        });
        with_film.extend(stays.map(|stay| stay.id));
    }
    Ok(with_film)
}

/// Reads the whole table into `intake`. Films whose file is missing or too large are rejected.
pub(in crate::replay) fn read(tree: &Tree, intake: &mut Intake<'_>) -> Result<(), ReplayError> {
    let Some(mut table) = open(tree)? else { return Ok(()) };
    let mut name = Vec::new();
    while let Some(row) = table.next_row()? {
        let number = row.number;
        let Taken { film, at } = match parse(&row) {
            Ok(taken) => taken,
            Err(detail) => {
                intake.malformed(TABLE, number, detail)?;
                continue;
            }
        };
        let link = intake.stays.link_subject(film.subject, at);
        let Some(index) = intake.in_scope(TABLE, link) else { continue };
        let available_at = available(at, &film.dicom, intake.config);
        if let Err(rejection) = check_file(tree, &film, intake.config) {
            intake.reject(TABLE, number, Some((index, available_at)), rejection)?;
            continue;
        }
        name.clear();
        // Writing to a vector cannot fail.
        let _ = write!(name, "cxr/{}", film.dicom);
        let FilmTaken { view, dicom, subject, study } = &film;
        let (subject, study) = (*subject, *study);
        intake.counts.table(TABLE).emitted += 1;
        intake.push(Arrival {
            table: TABLE,
            row: number,
            stay: index,
            name: &name,
            rank: 0,
            observed_at: at,
            available_at,
            payload: Payload::Filmed { view: *view, dicom, subject, study },
        })?;
    }
    intake.counts.table(TABLE).rows = table.rows();
    Ok(())
}

/// MIMIC-CXR records only the acquisition; the lag is an assumption, with a jitter that depends on
/// the seed and the film alone.
fn available(at: EventTime, dicom: &str, config: &ReplayConfig) -> EventTime {
    if config.clock == Clock::Charttime {
        return at;
    }
    let jitter = match config.cxr_jitter.as_millis() {
        0 => 0,
        most => {
            let film = u64::from(crc32fast::hash(dicom.as_bytes()));
            ChaCha8Rng::seed_from_u64(config.seed ^ (film << 32)).random_range(0..=most)
        }
    };
    at + config.cxr_lag + Span::from_millis(jitter)
}

fn check_file(tree: &Tree, film: &FilmTaken, config: &ReplayConfig) -> Result<(), Rejection> {
    let missing =
        || Rejection::new(Reason::FilmUnavailable, "neither a .jpg nor a .dcm file is there");
    let path = tree.film(film).ok_or_else(missing)?;
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > config.max_film_bytes => {
            let detail = format!("{} bytes, at most {}", meta.len(), config.max_film_bytes);
            Err(Rejection::new(Reason::FilmTooLarge, detail))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(Rejection::new(Reason::FilmUnavailable, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jitter_is_bounded_and_a_function_of_seed_and_film() {
        let at = EventTime::from_millis(0);
        let config = ReplayConfig { cxr_jitter: Span::minutes(10), ..ReplayConfig::default() };
        let lag = |film: &str, config: &ReplayConfig| available(at, film, config).since(at);
        let lags: BTreeSet<Span> = (0..50).map(|i| lag(&format!("f{i}"), &config)).collect();
        assert!(lags.len() > 40);
        assert!(lags.iter().all(|l| *l >= Span::minutes(15) && *l <= Span::minutes(25)));
        assert_eq!(lag("f1", &config), lag("f1", &config));
        let other = ReplayConfig { seed: 2, ..config.clone() };
        assert_ne!(lag("f1", &config), lag("f1", &other));
        let parity = ReplayConfig { clock: Clock::Charttime, ..config };
        assert_eq!(lag("f1", &parity), Span::ZERO);
    }
}

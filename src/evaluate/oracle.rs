//! The oracle of a synthetic ward: the film that would have been taken, and how ill the lungs are.

use std::collections::BTreeMap;
use std::path::Path;

use super::EvaluateError;
use crate::event::{PreparedFilm, ViewPosition};
use crate::film::{Declared, UnknownView, prepare};
use crate::ids::StayId;
use crate::replay::mimic::table::Table;
use crate::synth::{LATENT_NAMES, Truth, WardOptions};
use crate::time::EventTime;

/// Which severity a finding tells of, by the names of both.
const TOLD_BY: [(&str, &str); 6] = [
    ("Edema", "oedema"),
    ("Consolidation", "consolidation"),
    ("Pleural Effusion", "effusion"),
    ("Pneumothorax", "pneumothorax"),
    ("Atelectasis", "low_volume"),
    ("Cardiomegaly", "cardiomegaly"),
];

/// What a synthetic ward knows of itself.
pub struct Oracle {
    options: WardOptions,
    /// The number of each stay in the ward.
    numbers: BTreeMap<StayId, u64>,
}

/// The truth about one moment of one stay.
pub(super) struct Moment {
    pub(super) film: PreparedFilm,
    /// In the order of [`SEVERITIES`].
    pub(super) severities: [f64; TOLD_BY.len()],
}

/// Findings and severities that belong together: (index of the finding, name of the severity).
pub(super) fn read_outs() -> Vec<(usize, &'static str)> {
    let finding = |name: &str| crate::synth::LABELS.iter().position(|label| *label == name);
    TOLD_BY.iter().filter_map(|(label, latent)| Some((finding(label)?, *latent))).collect()
}

impl Oracle {
    /// The oracle of the ward in `ward`, as `nowcxr synth` and `nowcxr demo` write it; `None` where
    /// there is none.
    ///
    /// # Errors
    /// [`EvaluateError::File`] for a ward that does not hold together.
    pub fn open(ward: &Path) -> Result<Option<Self>, EvaluateError> {
        let told = ward.join("truth/ward.json");
        let Ok(text) = std::fs::read_to_string(&told) else { return Ok(None) };
        let options =
            serde_json::from_str(&text).map_err(|error| EvaluateError::file(&told, error))?;
        let unusable = |why: String| EvaluateError::file(&ward.join("truth/stays.csv.gz"), why);
        let mut table = Table::open(ward, "truth/stays", ["stay_id", "number"])
            .map_err(|error| unusable(error.to_string()))?;
        let mut numbers = BTreeMap::new();
        while let Some(row) = table.next_row().map_err(|error| unusable(error.to_string()))? {
            let number = |n: usize| row.text(n).trim().parse::<u64>().ok();
            let (Some(stay), Some(number)) = (number(0), number(1)) else {
                return Err(unusable("a row is no pair of numbers".to_owned()));
            };
            numbers.insert(StayId(stay), number);
        }
        Ok(Some(Oracle { options, numbers }))
    }

    /// The truth at `since` the admission of a stay; `None` for a stay of another ward.
    pub(super) fn at(&self, stay: StayId, since: EventTime) -> Option<Moment> {
        let number = *self.numbers.get(&stay)?;
        let truth = Truth::new(self.options.hospital, self.options.seed, number);
        let rows = usize::try_from(self.options.film_rows).ok()?;
        let jpeg = truth.film(since, rows).ok()?.jpeg;
        let view = Some(ViewPosition::Ap);
        let declared = Declared { view, unknown_view: UnknownView::default() };
        let all = truth.severities(since);
        let one = |name: &str| LATENT_NAMES.iter().position(|latent| *latent == name);
        let severities = TOLD_BY.map(|(_, name)| one(name).map_or(0.0, |k| all[k]));
        Some(Moment { film: prepare(&jpeg, declared).ok()?.film, severities })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::write_ward;

    #[test]
    fn a_ward_knows_its_own_stays_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Oracle::open(dir.path()).unwrap().is_none());
        let options = WardOptions { patients: 3, film_rows: 224, ..WardOptions::default() };
        write_ward(&options, dir.path(), &mut |_, _| {}).unwrap();
        let oracle = Oracle::open(dir.path()).unwrap().unwrap();
        let stay = *oracle.numbers.keys().next().unwrap();
        let at = |h: i64| oracle.at(stay, EventTime::from_millis(h * 3_600_000)).unwrap();
        assert_eq!(at(20).film, at(20).film);
        assert_ne!(at(5).film, at(40).film);
        assert!(at(5).severities.iter().all(|severity| (0.0..=1.0).contains(severity)));
        assert!(oracle.at(StayId(1), EventTime::from_millis(0)).is_none());
        assert_eq!(read_outs().len(), TOLD_BY.len());
        std::fs::write(dir.path().join("truth/ward.json"), "{").unwrap();
        assert!(Oracle::open(dir.path()).is_err());
    }
}

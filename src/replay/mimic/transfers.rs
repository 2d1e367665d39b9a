//! transfers: moves between units inside a stay. Optional: a tree without the table has none.

use std::io::Write;

use super::stays::{Stay, Stays};
use super::table::Table;
use super::tree::Tree;
use super::value::{parse_time, parse_u64};
use crate::replay::error::ReplayError;
use crate::replay::intake::{Arrival, Intake, Payload};
use crate::replay::item::MimicTable;
use crate::time::EventTime;

const TABLE: MimicTable = MimicTable::Transfers;
const COLUMNS: [&str; 4] = ["subject_id", "transfer_id", "careunit", "intime"];

/// Reads the whole table into `intake`. A move is an event of a stay if it falls after its
/// admission and before its end; the row that opens the stay is the admission itself.
pub(in crate::replay) fn read(tree: &Tree, intake: &mut Intake<'_>) -> Result<(), ReplayError> {
    let Some((dir, name)) = tree.place(TABLE) else { return Ok(()) };
    let mut table = Table::open(dir, name, COLUMNS)?;
    let mut name = Vec::new();
    while let Some(row) = table.next_row()? {
        let ids = (parse_u64(row.get(0)), parse_u64(row.get(1)), parse_time(row.get(3)));
        let (false, (Some(subject), Some(transfer), Some(at))) = (row.broken, ids) else {
            let detail = "subject_id, transfer_id or intime cannot be read";
            intake.malformed(TABLE, row.number, detail)?;
            continue;
        };
        let unit = row.text(2);
        let Some((index, stay)) = stay_of_move(intake.stays, subject, at, &unit) else {
            intake.counts.table(TABLE).out_of_scope += 1;
            continue;
        };
        if !stay.chosen {
            intake.counts.table(TABLE).not_in_cohort += 1;
            continue;
        }
        name.clear();
        // Writing to a vector cannot fail.
        let _ = write!(name, "transfers/{transfer}");
        intake.counts.table(TABLE).emitted += 1;
        intake.push(Arrival {
            table: TABLE,
            row: row.number,
            stay: index,
            name: &name,
            rank: 1,
            observed_at: at,
            available_at: at,
            payload: Payload::Transferred { unit: &unit },
        })?;
    }
    intake.counts.table(TABLE).rows = table.rows();
    Ok(())
}

/// The stay inside which the patient moved; rows without a unit are discharges.
fn stay_of_move<'a>(
    stays: &'a Stays,
    subject: u64,
    at: EventTime,
    unit: &str,
) -> Option<(usize, &'a Stay)> {
    let inside = |stay: &Stay| at > stay.intime && at < stay.ends_at;
    let found = stays.indexed_of_subject(subject).find(|(_, stay)| inside(stay));
    found.filter(|_| !unit.is_empty())
}

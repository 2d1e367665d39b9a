//! The books of a replay: every row of every table ends as exactly one thing, and every event that
//! left ends as exactly one thing in the engine.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::item::MimicTable;
use crate::event::Reason;
use crate::ids::Topic;

/// What became of one table's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCounts {
    pub rows: u64,
    /// Of an item that no variable is made of.
    pub not_a_model_variable: u64,
    /// Outside every stay's span.
    pub out_of_scope: u64,
    /// Of a stay that the cohort leaves out.
    pub not_in_cohort: u64,
    /// Became a dead letter in the replay.
    pub rejected: BTreeMap<Reason, u64>,
    /// Became events.
    pub emitted: u64,
    /// The events that they became: two a stay, one for any other row.
    pub events: u64,
}

/// What the engine says of the records of one topic, each counted once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineCounts {
    pub used: u64,
    pub late: u64,
    pub duplicate: u64,
    /// Charted copies of the laboratory's results.
    #[serde(default)]
    pub shadow: u64,
    pub rejected: BTreeMap<Reason, u64>,
}

/// Both books together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    tables: BTreeMap<MimicTable, TableCounts>,
    engine: BTreeMap<Topic, EngineCounts>,
    /// Of each topic how many more records were told than the tables have, on purpose.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    surplus: BTreeMap<Topic, i64>,
}

impl TableCounts {
    /// Rows rejected by the replay.
    pub fn rejected_rows(&self) -> u64 {
        self.rejected.values().sum()
    }

    fn accounted(&self) -> u64 {
        let outside = self.not_a_model_variable + self.out_of_scope + self.not_in_cohort;
        outside + self.rejected_rows() + self.emitted
    }
}

impl EngineCounts {
    fn accounted(&self) -> u64 {
        let rejected: u64 = self.rejected.values().sum();
        self.used + self.late + self.duplicate + self.shadow + rejected
    }
}

impl Reconciliation {
    /// The counts of a table, to read and to add to.
    pub fn table(&mut self, table: MimicTable) -> &mut TableCounts {
        self.tables.entry(table).or_default()
    }

    /// The counts of a table; zeros for one that was not read.
    pub fn of(&self, table: MimicTable) -> TableCounts {
        self.tables.get(&table).cloned().unwrap_or_default()
    }

    /// What the engine did with the records of each topic, once it has spoken.
    pub fn topics(&self) -> impl Iterator<Item = (Topic, &EngineCounts)> {
        self.engine.iter().map(|(topic, counts)| (*topic, counts))
    }

    /// What became of the rows of each table.
    pub fn tables(&self) -> impl Iterator<Item = (MimicTable, &TableCounts)> {
        self.tables.iter().map(|(table, counts)| (*table, counts))
    }

    /// Enters what the engine did with the records of `topic`.
    pub fn enter_engine(&mut self, topic: Topic, counts: EngineCounts) {
        self.engine.insert(topic, counts);
    }

    /// Enters how many more records of each topic were told, because faults were put in.
    pub fn enter_surplus(&mut self, surplus: BTreeMap<Topic, i64>) {
        self.surplus = surplus;
    }

    /// Moves an event that could not be sent after all to the dead letters.
    pub fn unsend(&mut self, table: MimicTable, reason: Reason) {
        let counts = self.table(table);
        counts.emitted = counts.emitted.saturating_sub(1);
        counts.events = counts.events.saturating_sub(1);
        *counts.rejected.entry(reason).or_default() += 1;
    }

    /// Every sum that does not agree; empty if the books do.
    pub fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        for (table, counts) in &self.tables {
            if counts.rows != counts.accounted() {
                differences.push(format!(
                    "{}: {} rows, {} accounted for",
                    table.name(),
                    counts.rows,
                    counts.accounted()
                ));
            }
        }
        for (topic, counts) in &self.engine {
            let of_topic = self.tables.iter().filter(|(table, _)| table.topic() == *topic);
            let events: u64 = of_topic.map(|(_, counts)| counts.events).sum();
            let events =
                events.saturating_add_signed(self.surplus.get(topic).copied().unwrap_or(0));
            if events != counts.accounted() {
                differences.push(format!(
                    "topic {}: {events} events sent, {} accounted for by the engine",
                    topic.name(),
                    counts.accounted()
                ));
            }
        }
        differences
    }
}

/// Two tables as text: rows by fate, then, once the engine has spoken, events by fate.
impl fmt::Display for Reconciliation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16} {:>11} {:>13} {:>12} {:>13} {:>9} {:>9}",
            "table", "rows", "not a model", "out of", "not in", "rejected", "emitted"
        )?;
        writeln!(f, "{:<28} {:>13} {:>12} {:>13}", "", "variable", "scope", "cohort")?;
        for (table, c) in &self.tables {
            writeln!(
                f,
                "{:<16} {:>11} {:>13} {:>12} {:>13} {:>9} {:>9}",
                table.name(),
                c.rows,
                c.not_a_model_variable,
                c.out_of_scope,
                c.not_in_cohort,
                c.rejected_rows(),
                c.emitted
            )?;
            write_reasons(f, &c.rejected)?;
        }
        if self.engine.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "{:<16} {:>11} {:>13} {:>12} {:>13} {:>9}",
            "topic", "used", "late", "duplicate", "shadow", "rejected"
        )?;
        for (topic, c) in &self.engine {
            let rejected: u64 = c.rejected.values().sum();
            writeln!(
                f,
                "{:<16} {:>11} {:>13} {:>12} {:>13} {:>9}",
                topic.name(),
                c.used,
                c.late,
                c.duplicate,
                c.shadow,
                rejected
            )?;
            write_reasons(f, &c.rejected)?;
        }
        Ok(())
    }
}

fn write_reasons(f: &mut fmt::Formatter<'_>, reasons: &BTreeMap<Reason, u64>) -> fmt::Result {
    reasons.iter().try_for_each(|(reason, count)| writeln!(f, "    {count:>9} {}", reason.code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books() -> Reconciliation {
        let mut books = Reconciliation::default();
        *books.table(MimicTable::LabEvents) = TableCounts {
            rows: 20,
            not_a_model_variable: 9,
            out_of_scope: 3,
            not_in_cohort: 1,
            rejected: BTreeMap::from([(Reason::MalformedRow, 2)]),
            emitted: 5,
            events: 5,
        };
        books
    }

    #[test]
    fn the_sums_must_agree_on_both_sides() {
        let mut books = books();
        assert!(books.differences().is_empty());
        let rejected = BTreeMap::from([(Reason::Implausible, 1)]);
        let counts =
            EngineCounts { used: 2, late: 1, shadow: 1, rejected, ..EngineCounts::default() };
        books.enter_engine(Topic::Lab, counts.clone());
        assert!(books.differences().is_empty());
        books.enter_engine(Topic::Lab, EngineCounts { used: 4, ..counts });
        assert_eq!(books.differences().len(), 1);
        books.table(MimicTable::LabEvents).rows += 1;
        assert_eq!(books.differences().len(), 2);
    }

    #[test]
    fn an_event_that_was_not_sent_stays_accounted_for() {
        let mut books = books();
        books.unsend(MimicTable::LabEvents, Reason::FilmUnavailable);
        assert!(books.differences().is_empty());
        assert_eq!(books.of(MimicTable::LabEvents).emitted, 4);
    }

    #[test]
    fn the_table_lists_the_reasons() {
        let text = books().to_string();
        assert!(text.contains("hosp/labevents") && text.contains("2 malformed_row"), "{text}");
    }
}

//! TEMPORARY stand-in until h-series lands.
use super::Row;
use crate::ids::VariableId;
use crate::time::EventTime;
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    rows: Vec<(Row, u64, u32)>,
}
impl History {
    pub fn append(&mut self, at: EventTime, variable: VariableId, value: f64, key: u64, seq: u32) {
        self.rows.push((Row { at, variable, value }, key, seq));
    }
    pub fn cut(
        &self,
        from: EventTime,
        to: EventTime,
        seq_below: u32,
        out: &[(u64, u32)],
    ) -> Vec<Row> {
        let mut v: Vec<_> = self
            .rows
            .iter()
            .filter(|(r, k, s)| {
                r.at >= from
                    && r.at <= to
                    && *s < seq_below
                    && !out.iter().any(|(key, seq)| key == k && *seq < seq_below)
            })
            .collect();
        v.sort_by_key(|(r, _, s)| (r.at, *s));
        v.into_iter().map(|(r, _, _)| *r).collect()
    }
    pub fn contains(&self, key: u64) -> bool {
        self.rows.iter().any(|(_, k, _)| *k == key)
    }
    pub fn find(&self, key: u64) -> Option<(EventTime, VariableId)> {
        self.rows.iter().find(|(_, k, _)| *k == key).map(|(r, _, _)| (r.at, r.variable))
    }
    pub fn take_dirty_hours(&mut self) -> std::collections::BTreeSet<i64> {
        Default::default()
    }
    pub fn chunk(&self, _hour: i64) -> Option<&Chunk> {
        None
    }
    pub fn from_chunks(_c: Vec<(i64, Chunk)>) -> Self {
        Self::default()
    }
    pub fn evict_before(&mut self, hour: i64) {
        self.rows.retain(|(r, _, _)| r.at.hour() >= hour);
    }
}

#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Chunk;

//! Whose state it is: a task may go on with what another configuration or model has made, and may
//! read again what was computed before.

use std::collections::BTreeMap;

use super::{Drive, DriveError};
use crate::engine::{Maker, Task};
use crate::event::alert::AlertEvent;
use crate::ids::{Position, Topic};
use crate::ports::{Commit, Committer, PortError, Predictor, Source, StateStore};
use crate::store::lineage::Lineage;
use crate::store::values;

/// What the state says of its maker, and what is to be said anew.
#[derive(Default)]
pub(super) struct Succession {
    lineage: Lineage,
    /// The store does not hold it as it is.
    pub is_changed: bool,
    /// Alerts of this process that were not told.
    withheld: u64,
}

impl Succession {
    /// Reads who made the state of `store`, and hands it over to `task` if that was another.
    pub(super) fn open(
        task: &mut Task,
        store: &impl StateStore,
        partition: u32,
    ) -> Result<Self, PortError> {
        let lineage = values::lineage(store, partition)?.unwrap_or_default();
        let ours = task.identity().maker();
        let earlier = lineage.maker.filter(|maker| *maker != ours);
        if let Some(earlier) = earlier {
            let Maker { model, config } = earlier;
            tracing::info!(task = partition, %model, %config, "goes on with the state of another");
            task.hand_over(earlier);
        }
        Ok(Succession { lineage, is_changed: earlier.is_some(), withheld: 0 })
    }

    /// Whether outputs that left may be made again, although the state knows of all that left
    /// last: an earlier one was lost, and this one has not read as far since.
    pub(super) fn may_repeat(&self, positions: &[Position]) -> bool {
        let reached = |told: &Position| {
            let same = |p: &&Position| (p.topic, p.partition) == (told.topic, told.partition);
            positions.iter().find(same).is_some_and(|at| at.next >= told.next)
        };
        !self.lineage.told_to.iter().all(reached)
    }

    /// Outputs have left that were made after reading as far as this; the furthest of all.
    pub(super) fn was_told(&mut self, read_to: Vec<Position>) -> Vec<Position> {
        let mut furthest: BTreeMap<(Topic, u32), u64> = BTreeMap::new();
        for position in read_to.iter().chain(&self.lineage.told_to) {
            let next = furthest.entry((position.topic, position.partition)).or_default();
            *next = position.next.max(*next);
        }
        let position = |((topic, partition), next)| Position { topic, partition, next };
        self.lineage.told_to = furthest.into_iter().map(position).collect();
        self.is_changed = true;
        self.lineage.told_to.clone()
    }

    /// Everything was made again that had left.
    pub(super) fn is_told(&mut self) {
        self.is_changed |= !self.lineage.told_to.is_empty();
        self.lineage.told_to.clear();
    }

    /// Adds to a commit what the store does not hold yet.
    pub(super) fn put(
        &mut self,
        ours: Maker,
        partition: u32,
        commit: &mut Commit,
    ) -> Result<(), PortError> {
        if self.lineage.maker != Some(ours) {
            self.lineage.maker = Some(ours);
            self.is_changed = true;
        }
        if std::mem::take(&mut self.is_changed) {
            values::put_lineage(partition, &self.lineage, commit)?;
        }
        Ok(())
    }
}

impl<S, T, C, P> Drive<S, T, C, P>
where
    S: Source,
    T: StateStore,
    C: Committer,
    P: Predictor,
{
    /// Whether an alert speaks of what was computed before, so that nobody is to hear of it.
    pub(super) fn withholds(&mut self, alert: &AlertEvent) -> bool {
        let is_quiet = self.succession.lineage.is_quiet(alert.known_at);
        self.succession.withheld += u64::from(is_quiet);
        is_quiet
    }

    /// Notes when everything has been read again that an earlier state had read.
    pub(super) fn catch_up(&mut self) -> Result<(), DriveError> {
        let Succession { lineage, is_changed, withheld } = &mut self.succession;
        if !lineage.is_catching_up() {
            return Ok(());
        }
        let reached = |next: u64, at: Option<&u64>| at.is_some_and(|at| *at >= next);
        let all_read = lineage.computed_before.iter().all(|before| {
            let at = self.positions.get(&(before.topic, before.partition));
            before.next == 0 || reached(before.next, at)
        });
        if all_read {
            let watermark = self.task.watermark().time();
            lineage.quiet_until = Some(watermark);
            *is_changed = true;
            let task = self.options.partition;
            tracing::info!(task, %watermark, withheld, "caught up; alerts are told from here on");
        }
        Ok(())
    }
}

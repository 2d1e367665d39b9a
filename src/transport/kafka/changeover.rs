//! When the state of a task was made under another configuration or model: what a person may want
//! then, and how a state is emptied.

use std::collections::BTreeMap;

use super::changelog::Progress;
use super::committer::KafkaCommitter;
use crate::ids::{Digest, Position, Topic};
use crate::ports::{Commit, PortError, Reached, StateStore};
use crate::store::lineage::Lineage;
use crate::store::values;

/// What becomes of a state that another configuration or model has made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Changeover {
    /// The task does not start.
    #[default]
    Refuse,
    /// It is gone on with: windows are the new one's from now on.
    FromNow,
    /// It is emptied, and everything is computed anew from the inputs.
    Reprocess,
}

impl KafkaCommitter {
    /// State that another configuration or model made is refused, or goes the way that a person
    /// has chosen.
    pub(super) fn change_over(&mut self, store: &mut impl StateStore) -> Result<(), PortError> {
        let task = self.options.partition;
        let ours = Some(self.options.config);
        if self.reached.config.is_none() || self.reached.config == ours {
            return Ok(());
        }
        match self.options.changeover {
            Changeover::Refuse => Err(PortError::Stop(format!(
                "the state of task {task} was made under another configuration or model; go back \
                 to that, or start with --from-now to go on with this state, windows being the \
                 new one's from now on, or with --reprocess to empty it and compute everything \
                 anew from the inputs"
            ))),
            Changeover::FromNow => match values::lineage(store, task)?.and_then(|l| l.maker) {
                Some(_) => Ok(()),
                None => Err(PortError::Stop(format!(
                    "the state of task {task} does not say which model made it, so its events \
                     could not be named; start with --reprocess"
                ))),
            },
            Changeover::Reprocess => {
                let emptied = self.begin_anew(store, ours)?;
                tracing::warn!(task, emptied, "the state was emptied; inputs are read anew");
                Ok(())
            }
        }
    }

    /// Empties the state of the task, here and in the changelog, so that every copy of it follows.
    /// It remembers how far the inputs had been read, and nobody is alerted of what they say up to
    /// there. Returns how many values there were.
    pub(super) fn begin_anew(
        &mut self,
        store: &mut impl StateStore,
        config: Option<Digest>,
    ) -> Result<u64, PortError> {
        let task = self.options.partition;
        let opened = store.opened().clone();
        let start = |topic| Position { topic, partition: task, next: 0 };
        let mut commit = Commit {
            number: opened.commit + 1,
            positions: Topic::ALL.map(start).to_vec(),
            ..Commit::default()
        };
        store.scan(&[], &mut |key, _| commit.deletes.push(key.to_vec()))?;
        let emptied = commit.deletes.len() as u64;
        let before = values::lineage(store, task)?.unwrap_or_default().computed_before;
        let computed_before = furthest(&opened.positions, &before);
        values::put_lineage(task, &Lineage { computed_before, ..Lineage::default() }, &mut commit)?;
        let named = commit.puts.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        commit.deletes.retain(|key| !named.contains(key));
        let mut reached = Reached { config, ..self.reached };
        let progress = Progress {
            number: commit.number,
            positions: commit.positions.clone(),
            last_output: reached.last_output,
            journal: reached.journal,
            config,
        };
        reached.changelog = self.transact(&commit, &progress.encode()?)?;
        self.reached = reached;
        commit.reached = Some(reached);
        store.restore(&commit)?;
        store.caught_up()?;
        Ok(emptied)
    }
}

/// Of each partition the further of two positions.
fn furthest(a: &[Position], b: &[Position]) -> Vec<Position> {
    let mut next: BTreeMap<(Topic, u32), u64> = BTreeMap::new();
    for position in a.iter().chain(b) {
        let held = next.entry((position.topic, position.partition)).or_default();
        *held = position.next.max(*held);
    }
    let position = |((topic, partition), next)| Position { topic, partition, next };
    next.into_iter().map(position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_computed_before_reaches_as_far_as_any_state_did() {
        let at = |topic, next| Position { topic, partition: 0, next };
        let state = [at(Topic::Lab, 5), at(Topic::Vital, 2)];
        let before = [at(Topic::Vital, 7), at(Topic::Stay, 1)];
        let expected = [at(Topic::Stay, 1), at(Topic::Lab, 5), at(Topic::Vital, 7)];
        let mut furthest = furthest(&state, &before);
        furthest.sort_by_key(|position| position.topic);
        assert_eq!(furthest, expected);
        assert!(super::furthest(&[], &[]).is_empty());
    }
}

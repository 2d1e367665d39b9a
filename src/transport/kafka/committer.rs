//! One commit as one transaction: outputs, changelog, journal and input positions come to be
//! together, then the same values go to the local store, which is flushed when there is time.
//!
//! Nothing is kept between two commits: a transaction is begun, filled and committed in one call,
//! so an idle task has none open. If it must be aborted, the very same commit is tried again: it
//! is whole in memory, and a repeat of what never came to be repeats nothing. That spares the way
//! back by dropping state and reading again, which is only taken when the outcome is not known:
//! then the task is opened anew, which waits for the outcome and reads it from the changelog.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use super::changelog::{self, Progress};
use super::changeover::Changeover;
use super::journal;
use super::outlet;
use super::ownership::{Hold, Ownership};
use super::settings::{ASK_TIMEOUT, KafkaSettings};
use super::stretch::Stretch;
use super::transaction::{Failed, Offsets, Transactions};
use crate::config::ProductionHandler;
use crate::ids::{Digest, Position, Topic};
use crate::ports::{
    Commit, Committer, Held, JournalRecord, OutputKind, PortError, Reached, StateStore,
};
use crate::telemetry::StateRestored;

const KINDS: [OutputKind; 4] =
    [OutputKind::Risk, OutputKind::Alert, OutputKind::DeadLetter, OutputKind::View];
/// Before an aborted transaction is tried again, at first and at most.
const BACK_OFF: Duration = Duration::from_millis(20);
const BACK_OFF_MAX: Duration = Duration::from_millis(500);
/// Between two looks for the membership that a rebalance has renewed.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What does not change in the life of a task.
#[derive(Clone)]
pub struct CommitterOptions {
    pub partition: u32,
    /// The configuration and model under which the state is made.
    pub config: Digest,
    /// The longest time between two flushes of a store that has changed.
    pub flush_every: Duration,
    /// What becomes of a state that another configuration or model has made.
    pub changeover: Changeover,
    /// What becomes of a commit that the cluster does not take.
    pub production: ProductionHandler,
    /// Set when the process is to end: then nothing is waited for that may take long.
    pub stop: Arc<AtomicBool>,
}

/// The commits of one task.
pub struct KafkaCommitter {
    settings: KafkaSettings,
    pub(super) options: CommitterOptions,
    ownership: Ownership,
    transactions: Transactions,
    outputs: [String; 4],
    changelog: String,
    journal: String,
    pub(super) reached: Reached,
    /// Since when the store holds what is not flushed.
    unflushed: Option<Instant>,
}

impl KafkaCommitter {
    /// Fences whoever wrote for this task before.
    pub fn open(
        settings: &KafkaSettings,
        ownership: Ownership,
        options: CommitterOptions,
    ) -> Result<Self, PortError> {
        let unwanted = || is_unwanted(&ownership, &options);
        let transactions =
            Transactions::open(settings, options.partition, ownership.clone(), &unwanted)?;
        Ok(KafkaCommitter {
            transactions,
            outputs: KINDS.map(|kind| settings.output(kind)),
            changelog: settings.changelog(),
            journal: settings.journal(),
            settings: settings.clone(),
            options,
            ownership,
            reached: Reached::default(),
            unflushed: None,
        })
    }

    /// Brings `store` to the last commit, whoever made it.
    pub(super) fn restore(&mut self, store: &mut impl StateStore) -> Result<(), PortError> {
        let (task, started) = (self.options.partition, Instant::now());
        let stretch = Stretch::open(&self.settings, self.changelog.clone(), task)?;
        let unwanted = || is_unwanted(&self.ownership, &self.options);
        let tail = changelog::tail(&self.settings, task, &stretch, store)?;
        let restored = changelog::restore(task, &stretch, tail, store, &unwanted)?;
        self.reached = restored.reached;
        let (records, took) = (restored.records, started.elapsed());
        StateRestored { task, from: tail.from, records, took }.emit();
        self.compare_offsets(&stretch, &store.opened().positions);
        Ok(())
    }

    /// The state decides where reading goes on. If the group's own note says otherwise, somebody
    /// has moved it or the state is another's, and that is worth a line.
    fn compare_offsets(&self, stretch: &Stretch<'_>, positions: &[Position]) {
        if !self.ownership.is_member() {
            return;
        }
        let task = self.options.partition;
        let noted = stretch.consumer().committed_offsets(self.inputs(), ASK_TIMEOUT);
        let noted = match noted {
            Ok(noted) => noted,
            Err(error) => {
                tracing::warn!(task, "the group's offsets cannot be compared: {error}");
                return;
            }
        };
        for topic in Topic::ALL {
            let name = self.settings.input(topic);
            let found = noted.find_partition(&name, partition_number(task));
            let found = match found.map(|element| element.offset()) {
                Some(Offset::Offset(offset)) => u64::try_from(offset).ok(),
                _ => None,
            };
            let ours = positions.iter().find(|p| p.topic == topic && p.partition == task);
            if let Some(found) = found.filter(|found| ours.map_or(0, |p| p.next) != *found) {
                let state = ours.map_or(0, |p| p.next);
                tracing::warn!(
                    task,
                    topic = name,
                    group = found,
                    state,
                    "the group's offset differs from the state's, which decides"
                );
            }
        }
    }

    fn inputs(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for name in self.settings.inputs() {
            list.add_partition(&name, partition_number(self.options.partition));
        }
        list
    }

    fn offsets(&self, positions: &[Position]) -> Result<TopicPartitionList, PortError> {
        let mut list = TopicPartitionList::new();
        for position in positions {
            let name = self.settings.input(position.topic);
            let offset = Offset::Offset(i64::try_from(position.next).unwrap_or(i64::MAX));
            list.add_partition_offset(&name, partition_number(position.partition), offset)
                .map_err(|e| PortError::Stop(format!("a position is none: {e}; report this")))?;
        }
        Ok(list)
    }

    /// Tries until the transaction has come to be. Returns where the changelog ends then.
    pub(super) fn transact(&mut self, commit: &Commit, progress: &[u8]) -> Result<u64, PortError> {
        let offsets = self.offsets(&commit.positions)?;
        let deadline = Instant::now() + self.settings.delivery_timeout();
        let mut wait = BACK_OFF;
        loop {
            match self.attempt(commit, progress, &offsets) {
                Ok(end) => return Ok(end.unwrap_or(self.reached.changelog)),
                Err(Failed::Unusable(error)) => return Err(error),
                Err(Failed::Unanswered(error)) => return Err(self.given_up(error)),
                Err(Failed::Undone(why)) => {
                    self.abort()?;
                    let task = self.options.partition;
                    let ours = self.ownership.hold() != Hold::Lost;
                    if !ours || Instant::now() >= deadline {
                        return Err(self.given_up(PortError::Reopen(why)));
                    }
                    tracing::info!(task, "{why}; the transaction is tried again");
                    thread::sleep(wait);
                    wait = (wait * 2).min(BACK_OFF_MAX);
                }
            }
        }
    }

    fn abort(&mut self) -> Result<(), PortError> {
        self.transactions.abort().map_err(|failed| match failed {
            Failed::Undone(why) => PortError::Reopen(why),
            Failed::Unusable(error) => error,
            Failed::Unanswered(error) => self.given_up(error),
        })
    }

    /// A commit that nobody has taken for as long as it may take. What another owner has ended is
    /// no failure.
    fn given_up(&self, error: PortError) -> PortError {
        let is_ours = self.ownership.hold() != Hold::Lost;
        match (self.options.production, error) {
            (ProductionHandler::Fail, PortError::Reopen(why) | PortError::Retry(why))
                if is_ours =>
            {
                PortError::Stop(format!("{why}; errors.production is fail, so this process ends"))
            }
            (_, error) => error,
        }
    }

    fn attempt(
        &mut self,
        commit: &Commit,
        progress: &[u8],
        offsets: &TopicPartitionList,
    ) -> Result<Option<u64>, Failed> {
        let member = self.member()?;
        let offsets = member.as_deref().map(|member| Offsets { positions: offsets, member });
        let partition = self.options.partition;
        let keys: Vec<Option<String>> =
            commit.outputs.iter().map(|output| output.stay.map(|s| s.to_string())).collect();
        let outputs = commit.outputs.iter().zip(&keys).map(|(output, key)| {
            outlet::record(&self.outputs[output.kind as usize], key.as_deref(), output)
        });
        let journal = journal::records(&self.journal, partition, &commit.journal);
        let changelog = changelog::records(&self.changelog, partition, commit, progress);
        self.transactions.run(outputs.chain(journal).chain(changelog), offsets.as_ref())
    }

    /// As what member we commit; `None` for a task outside any group.
    fn member(&self) -> Result<Option<Arc<rdkafka::consumer::ConsumerGroupMetadata>>, Failed> {
        if !self.ownership.is_member() {
            return Ok(None);
        }
        let deadline = Instant::now() + ASK_TIMEOUT;
        loop {
            if self.ownership.hold() == Hold::Lost {
                return Err(Failed::Unusable(lost(self.options.partition)));
            }
            if let Some(member) = self.ownership.member() {
                return Ok(Some(member));
            }
            if Instant::now() >= deadline {
                let why = "the consumer group has not said who we are".to_owned();
                return Err(Failed::Unusable(PortError::Reopen(why)));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

fn partition_number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

fn is_unwanted(ownership: &Ownership, options: &CommitterOptions) -> bool {
    ownership.hold() != Hold::Ours || options.stop.load(Ordering::Acquire)
}

fn lost(partition: u32) -> PortError {
    PortError::Reopen(format!("partition {partition} was lost to the consumer group"))
}

impl Committer for KafkaCommitter {
    fn open(&mut self, store: &mut impl StateStore) -> Result<u64, PortError> {
        self.restore(store)?;
        self.change_over(store)?;
        Ok(self.reached.last_output)
    }

    /// What has left is in the state, so nothing leaves twice.
    fn held(&self) -> Result<Held, PortError> {
        Ok(Held::default())
    }

    /// State and journal come to be together. Only a state that has lost its changelog has
    /// something to learn from the journal.
    fn read_journal(
        &mut self,
        store: &impl StateStore,
        visit: &mut dyn FnMut(JournalRecord),
    ) -> Result<(), PortError> {
        if store.opened().commit > 0 {
            return Ok(());
        }
        journal::read(&self.settings, self.options.partition, visit)
    }

    fn commit(
        &mut self,
        commit: &mut Commit,
        store: &mut impl StateStore,
    ) -> Result<(), PortError> {
        if self.ownership.hold() == Hold::Lost {
            return Err(lost(self.options.partition));
        }
        keep_newest(commit);
        let mut reached = self.reached;
        reached.last_output = commit.outputs.last().map_or(reached.last_output, |o| o.number);
        reached.journal += commit.journal.len() as u64;
        reached.config = Some(self.options.config);
        let progress = Progress {
            number: commit.number,
            positions: commit.positions.clone(),
            last_output: reached.last_output,
            journal: reached.journal,
            config: reached.config,
        };
        reached.changelog = self.transact(commit, &progress.encode()?)?;
        self.reached = reached;
        commit.reached = Some(reached);
        // They have left; the store need not keep them.
        commit.outputs.clear();
        commit.journal.clear();
        store.commit(commit)?;
        self.unflushed.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// What is not flushed is in the changelog, so a flush may wait.
    fn settle(&mut self, store: &mut impl StateStore) -> Result<(), PortError> {
        if self.unflushed.is_some_and(|since| since.elapsed() >= self.options.flush_every) {
            store.flush()?;
            self.unflushed = None;
        }
        Ok(())
    }
}

/// Of several values for one key only the last is the state; the others need not travel.
fn keep_newest(commit: &mut Commit) {
    let last: BTreeMap<Vec<u8>, usize> =
        commit.puts.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
    let mut at = 0;
    commit.puts.retain(|(key, _)| {
        at += 1;
        last.get(key) == Some(&(at - 1))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_value_of_a_key_travels() {
        let put = |key: u8, value: u8| (vec![key], vec![value]);
        let mut commit =
            Commit { puts: vec![put(1, 1), put(2, 1), put(1, 2), put(3, 1)], ..Commit::default() };
        keep_newest(&mut commit);
        assert_eq!(commit.puts, [put(2, 1), put(1, 2), put(3, 1)]);
    }

    #[test]
    fn kinds_index_their_topics() {
        for (at, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }
}

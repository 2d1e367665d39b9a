//! A state that an earlier format of the store holds is read as it was written.

use nowcxr::config::EngineConfig;
use nowcxr::engine::{Alerting, Task};
use nowcxr::ports::{Commit, StateStore as _};
use nowcxr::store::codec::{frame, unframe};
use nowcxr::store::keys::{Key, Kind};
use nowcxr::store::memory::MemoryStore;
use nowcxr::store::values;

use crate::support::{identity, run, task};
use crate::workload::{Faults, ward};

const SEEDS: u64 = 60;
/// The last format in which a stay's alerts stood at the end of its head.
const ALERTS_IN_HEAD: u8 = 3;

/// What is stored of `task`.
fn stored(task: &mut Task) -> Commit {
    let (store, mut commit) = (MemoryStore::new(), Commit { number: 1, ..Commit::default() });
    values::put_changes(task, 0, &store, &mut commit).unwrap();
    commit
}

/// The same as an earlier program would have stored it.
fn in_one_piece(commit: &Commit) -> Commit {
    let payload = |bytes: &[u8]| unframe(bytes).unwrap().1.to_vec();
    let mut earlier = Commit { number: 1, ..Commit::default() };
    for (key, value) in &commit.puts {
        let value = match Key::decode(key).unwrap() {
            Key::Alerting { .. } => continue,
            Key::Head { stay } => {
                let apart = Key::Alerting { stay }.encode();
                let alerts = commit.puts.iter().find(|(key, _)| *key == apart);
                let none = || postcard::to_stdvec(&Alerting::default()).unwrap();
                let alerts = alerts.map_or_else(none, |(_, value)| payload(value));
                frame(ALERTS_IN_HEAD, &[payload(value), alerts].concat())
            }
            _ => frame(ALERTS_IN_HEAD, &payload(value)),
        };
        earlier.puts.push((key.clone(), value));
    }
    earlier
}

fn restored(commit: &Commit) -> Task {
    let mut store = MemoryStore::new();
    store.commit(commit).unwrap();
    let mut task = Task::new(EngineConfig::default(), identity());
    let (watermark, stays) = values::load(&store, task.config().feeds.len()).unwrap();
    task.restore(watermark, stays);
    task
}

#[test]
fn alerts_that_stood_in_the_head_of_a_stay_are_found_and_stored_apart() {
    println!("seeds 0..{SEEDS}");
    let mut n_apart = 0;
    for seed in 0..SEEDS {
        let inputs = ward(seed, &Faults::ALL).in_order();
        let half = inputs.len() / 2;
        let mut first = task(EngineConfig::default());
        run(&mut first, inputs.iter().take(half).cloned());
        let now = stored(&mut first);
        let alerts = |commit: &Commit| {
            let kinds = commit.puts.iter().filter_map(|(key, _)| Key::decode(key));
            kinds.filter(|key| key.kind() == Kind::Alerting).count()
        };
        let earlier = in_one_piece(&now);
        let rest = || inputs.iter().skip(half).cloned();
        let (mut of_now, mut of_earlier) = (restored(&now), restored(&earlier));
        assert_eq!(run(&mut of_earlier, rest()), run(&mut of_now, rest()), "seed {seed}");
        let put = stored(&mut of_earlier);
        n_apart += alerts(&put);
    }
    assert!(n_apart > 5, "only {n_apart} values of alerts were stored again");
}

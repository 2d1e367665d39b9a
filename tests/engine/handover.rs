//! A task that goes on with what another configuration and model has made: nothing is told of the
//! change, and what is told later names what was told before.

use std::collections::BTreeSet;

use nowcxr::config::EngineConfig;
use nowcxr::engine::{Effect, Identity, Stay, Task};
use nowcxr::event::risk::ModelName;
use nowcxr::ids::{AlertId, Digest, EventId};
use nowcxr::ports::{Commit, StateStore as _};
use nowcxr::store::memory::MemoryStore;
use nowcxr::store::values;

use crate::support::{alerts, identity, payloads, run, step_and_answer, task};
use crate::workload::{Faults, Ward, ward};

const SEEDS: u64 = 240;

fn successor() -> Identity {
    let digest = Digest::of(b"another model");
    Identity {
        model: ModelName { name: "next".into(), version: "1".into(), digest },
        config_digest: Digest::of(b"another config"),
        epoch: 2,
        ..identity()
    }
}

/// Through the store and back, as a restart would.
fn restarted(mut task: Task, under: Identity, number: u64, store: &mut MemoryStore) -> Task {
    let mut commit = Commit { number, ..Commit::default() };
    values::put_changes(&mut task, 0, store, &mut commit).unwrap();
    store.commit(&commit).unwrap();
    let (watermark, stays) = values::load(store, task.config().feeds.len()).unwrap();
    let said = |stay: &Stay| (stay.id, stay.heritage(), stay.windows().to_vec());
    let held: Vec<_> = task.stays().values().map(said).collect();
    assert_eq!(stays.iter().map(said).collect::<Vec<_>>(), held);
    let mut next = Task::new(task.config().clone(), under);
    next.restore(watermark, stays);
    next
}

/// The effects before and after a handover in the middle of a ward's course.
fn handed_over(ward: &Ward) -> (Vec<Effect>, Vec<Effect>) {
    let inputs = ward.in_order();
    let half = inputs.len() / 2;
    let mut first = task(EngineConfig::default());
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (n, input) in inputs.iter().take(half).cloned().enumerate() {
        match n + 40 < half {
            true => step_and_answer(&mut first, input, &mut before),
            // The last questions are still open.
            false => first.step(input, &mut before),
        }
    }
    let mut store = MemoryStore::new();
    let mut second = restarted(first, successor(), 1, &mut store);
    second.hand_over(identity().maker());
    // Written and read once more, with what the earlier maker has said.
    let mut second = restarted(second, successor(), 2, &mut store);
    let open: Vec<_> = second.unanswered().collect();
    for ticket in open {
        let answer = crate::support::score_of(&second, ticket).unwrap();
        second.step(nowcxr::engine::Input::Answer(answer), &mut after);
    }
    after.extend(run(&mut second, inputs.into_iter().skip(half)));
    assert_eq!(second.unanswered().count(), 0);
    (before, after)
}

#[test]
fn whatever_is_told_later_names_what_was_told_before() {
    println!("seeds 0..{SEEDS}");
    let (mut n_revised, mut n_alerts) = (0, 0);
    for seed in 0..SEEDS {
        let (before, after) = handed_over(&ward(seed, &Faults::ALL));
        let mut known: BTreeSet<EventId> = payloads(&before).iter().map(|e| e.id).collect();
        let ours: BTreeSet<EventId> = payloads(&after).iter().map(|e| e.id).collect();
        known.extend(&ours);
        for event in payloads(&after) {
            assert_eq!(event.config_digest, successor().config_digest, "seed {seed}");
            let superseded = event.supersedes;
            assert!(superseded.is_none_or(|id| known.contains(&id)), "seed {seed}: {event:?}");
            n_revised += u64::from(superseded.is_some_and(|id| !ours.contains(&id)));
        }
        let mut told: BTreeSet<EventId> = alerts(&before).iter().map(|a| a.id).collect();
        let mut named: BTreeSet<AlertId> = alerts(&before).iter().map(|a| a.alert).collect();
        for alert in alerts(&after) {
            if let Some(earlier) = alert.supersedes {
                assert!(told.contains(&earlier), "seed {seed}: {alert:?}");
                n_alerts += u64::from(named.contains(&alert.alert));
            } else {
                // A new one rests on predictions of the new maker alone.
                assert!(alert.basis.iter().all(|id| ours.contains(id)), "seed {seed}: {alert:?}");
                named.insert(alert.alert);
            }
            told.insert(alert.id);
        }
    }
    assert!(n_revised > 5, "only {n_revised} events of the earlier maker were revised");
    assert!(n_alerts > 5, "only {n_alerts} records of alerts of the earlier maker were told");
}

//! The service broken on purpose: killed, joined, left, paused, its broker taken away or cut off.
//! Whatever happens, the committed risk events are those of an offline replay of the same ward:
//! none missing, none extra, none different. Each proof prints its seed and its figures.
//!
//! `.ci/prove` runs them at length. Here they are short, unless the environment says otherwise:
//! `NOWCXR_PROVE_SEED`, `NOWCXR_PROVE_PATIENTS` (72 windows each), `NOWCXR_PROVE_KILLS`,
//! `NOWCXR_PROVE_SECONDS` of rebalances, `NOWCXR_PROVE_OUTAGES` in seconds, comma-separated,
//! `NOWCXR_PROVE_MIXED` seconds of two programs beside each other.

mod broker;
mod cluster;
mod committed;
mod relay;
mod trial;
mod upgrade;

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::place::{Place, Reader, place};
use committed::{committed, monotone};

/// Without an output for so long there is none to come.
const QUIET: Duration = Duration::from_secs(45);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The ward of all proofs and what an undisturbed local replay says of it.
static WARD: LazyLock<Option<(Place, Vec<Vec<u8>>)>> = LazyLock::new(|| {
    let ward = place("prove", number("NOWCXR_PROVE_PATIENTS", 6))?;
    ward.replay("local");
    let expected = ward.local_risks();
    Some((ward, expected))
});

fn seed(proof: &str) -> ChaCha8Rng {
    let seed = number("NOWCXR_PROVE_SEED", 1);
    println!("{proof}: seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// Tells when each risk event has come to be, as a consumer of committed records sees it.
struct Watch {
    seen: Receiver<(Instant, i32)>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn over(place: &Place) -> Self {
        let (send, seen) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (reader, stopped) = (Reader::of(&place.broker, &place.risk_topic()), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                if let Some((partition, _)) = reader.next() {
                    send.send((Instant::now(), partition)).unwrap();
                }
            }
        });
        Watch { seen, stop, thread: Some(thread) }
    }

    /// How long after `since` the next event came; `None` if it did not within `limit`.
    fn first_after(&self, since: Instant, limit: Duration) -> Option<Duration> {
        while let Ok((at, _)) = self.seen.recv_timeout(limit.saturating_sub(since.elapsed())) {
            if at > since {
                return Some(at - since);
            }
        }
        None
    }

    fn all(&self) -> Vec<(Instant, i32)> {
        self.seen.try_iter().collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.take().map(JoinHandle::join);
    }
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

/// A figure of a sorted list.
fn quantile(sorted: &[Duration], q: f64) -> Duration {
    let index = (q * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

fn figures(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "{what}: n {}, median {:.2?}, p99 {:.2?}, max {:.2?}",
        times.len(),
        quantile(&times, 0.5),
        quantile(&times, 0.99),
        quantile(&times, 1.0)
    );
}

/// Runs what is left to its end and compares. No position that the group ever committed lies before
/// an earlier one.
fn settle(proof: &str, place: &Place, expected: &[Vec<u8>]) {
    let idle = ["--until-idle", "5"];
    let ended = place.service("a").args(idle).status().unwrap();
    assert!(ended.success(), "{proof}: the last run failed: {ended}; see {:?}", place.dir.path());
    let told = place.sorted_kafka_risks();
    let mut balance: BTreeMap<&[u8], i64> = BTreeMap::new();
    expected.iter().for_each(|payload| *balance.entry(payload).or_default() += 1);
    told.iter().for_each(|payload| *balance.entry(payload).or_default() -= 1);
    let missing: i64 = balance.values().filter(|n| **n > 0).sum();
    let extra: i64 = -balance.values().filter(|n| **n < 0).sum::<i64>();
    println!("{proof}: {} risk events, {missing} missing, {extra} extra", told.len());
    assert_eq!((missing, extra), (0, 0), "{proof}");
    let committed = committed(&place.broker, place.group());
    let (places, n) = (committed.len(), committed.values().map(Vec::len).sum::<usize>());
    let moved = monotone(&committed).unwrap_or_else(|why| panic!("{proof}: {why}"));
    println!("{proof}: of {n} commits of {places} positions {moved} moved one on and none back");
    assert!(places >= 8 && n > 3 * places, "{proof}: too little was committed to tell");
}

#[test]
fn kills_at_random_moments_change_nothing() {
    let Some((ward, expected)) = &*WARD else { return };
    let place = ward.named("kills", &ward.broker);
    let mut rng = seed("kills");
    place.replay("kafka");
    let watch = Watch::over(&place);
    let (mut restarts, mut done, mut lost) = (Vec::new(), 0, 0);
    // A name that survives a kill: without it the group waits for the session's end.
    let run = || place.service("a").args(["--set", "kafka.instance=a"]).spawn().unwrap();
    for _ in 0..number("NOWCXR_PROVE_KILLS", 6) {
        if rng.random_range(0..6) == 0 {
            lost += 1;
            // A node that comes back without its disk.
            drop(std::fs::remove_dir_all(place.path(&format!("{}a", place.prefix))));
        }
        let (started, mut child) = (Instant::now(), run());
        let early = rng.random_range(0..4) == 0;
        if early {
            thread::sleep(Duration::from_millis(rng.random_range(0..2_000)));
        } else {
            let Some(first) = watch.first_after(started, QUIET) else {
                child.kill().unwrap();
                child.wait().unwrap();
                println!("kills: the ward has ended after {done} kills");
                break;
            };
            restarts.push(first);
            thread::sleep(Duration::from_millis(rng.random_range(0..1_500)));
            if rng.random_range(0..4) == 0 {
                signal(&child, "-TERM");
                thread::sleep(Duration::from_millis(rng.random_range(0..300)));
            }
        }
        // It may have ended by itself after a TERM.
        child.kill().unwrap();
        child.wait().unwrap();
        done += 1;
    }
    println!("kills: {done}, of them {lost} with the state's directory lost");
    figures("kills: start to first committed output", restarts);
    drop(watch);
    settle("kills", &place, expected);
}

/// One place for a member; it may be empty, running or paused since.
#[derive(Default)]
struct Slot {
    child: Option<Child>,
    paused: Option<Instant>,
}

impl Slot {
    fn is_active(&self) -> bool {
        self.child.is_some() && self.paused.is_none()
    }

    fn end(&mut self, how: &str) {
        let Some(mut child) = self.child.take() else { return };
        if self.paused.take().is_some() {
            signal(&child, "-CONT");
        }
        signal(&child, how);
        child.wait().unwrap();
    }
}

#[test]
fn members_that_come_leave_die_and_stall_change_nothing() {
    /// Longer than the session: the others take over, and the member wakes as a zombie.
    const PAUSE: Duration = Duration::from_secs(15);
    let Some((ward, expected)) = &*WARD else { return };
    let place = ward.named("members", &ward.broker);
    let mut rng = seed("members");
    place.replay("kafka");
    let watch = Watch::over(&place);
    let mut slots: [Slot; 3] = Default::default();
    let (started, mut acts) = (Instant::now(), BTreeMap::<&str, u32>::new());
    while started.elapsed() < Duration::from_secs(number("NOWCXR_PROVE_SECONDS", 40)) {
        for slot in &mut slots {
            if slot.paused.is_some_and(|since| since.elapsed() > PAUSE) {
                slot.child.iter().for_each(|child| signal(child, "-CONT"));
                slot.paused = None;
            }
        }
        let at = rng.random_range(0..slots.len());
        let others = slots.iter().enumerate().any(|(i, slot)| i != at && slot.is_active());
        let act = match (&slots[at].child, rng.random_range(0..3)) {
            (None, _) => {
                slots[at].child = Some(place.service(&format!("m{at}")).spawn().unwrap());
                "join"
            }
            _ if !others || slots[at].paused.is_some() => "none",
            (Some(_), 0) => {
                slots[at].end("-TERM");
                "leave"
            }
            (Some(_), 1) => {
                slots[at].end("-KILL");
                "die"
            }
            (Some(child), _) => {
                signal(child, "-STOP");
                slots[at].paused = Some(Instant::now());
                "pause"
            }
        };
        *acts.entry(act).or_default() += 1;
        thread::sleep(Duration::from_secs(3));
    }
    slots.iter_mut().for_each(|slot| slot.end("-TERM"));
    println!("members: {acts:?}, session 6 s");
    figures("members: between two committed outputs of a partition", gaps(&watch.all()));
    drop(watch);
    settle("members", &place, expected);
}

/// The times between two outputs of the same partition.
fn gaps(seen: &[(Instant, i32)]) -> Vec<Duration> {
    let mut last = BTreeMap::new();
    let gap = |&(at, partition): &(Instant, i32)| {
        last.insert(partition, at).map(|before: Instant| at.saturating_duration_since(before))
    };
    seen.iter().filter_map(gap).collect()
}

//! Two members that keep warm copies of each other's state: one dies, and the other takes over
//! with no more than the tail to read.

use std::path::Path;
use std::time::{Duration, Instant};

use nowcxr::store::sled::{Health, SledStore, StoreOptions};

use super::place::{LONG, Place, Service, free_port, page, place};
use super::stop;

/// A member with warm copies of everything that it does not own.
struct Member {
    service: Service,
    port: u16,
    node: &'static str,
}

impl Member {
    fn start(place: &Place, node: &'static str) -> Self {
        let port = free_port();
        let mut run = place.service(node);
        run.args(["--set", "kafka.standby=2"]);
        run.args(["--set", &format!("http.listen=127.0.0.1:{port}")]);
        Member { service: Service(run.spawn().unwrap()), port, node }
    }

    fn log(&self, place: &Place) -> String {
        std::fs::read_to_string(place.path(&format!("{}{}.log", place.prefix, self.node))).unwrap()
    }

    /// The value of a series.
    fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = page(self.port, "/metrics");
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok();
        text.lines().find_map(value)
    }

    /// Waits until exactly one copy is warm, and returns its partition.
    fn await_warm(&self, place: &Place) -> u32 {
        let started = Instant::now();
        loop {
            let log = self.log(place);
            let warm = log.lines().rev().find(|line| line.contains("standby is warm"));
            if let Some(line) = warm
                && self.metric("nowcxr_standbys") == Some(1.0)
            {
                return number(line, "task");
            }
            assert!(started.elapsed() < LONG, "no warm copy within {LONG:?}: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The number behind `name=` in a log line.
fn number<T: std::str::FromStr>(line: &str, name: &str) -> T {
    let value = line.split_whitespace().find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// Whether a line says that this task is restored.
fn is_restore(line: &str, task: u32) -> bool {
    line.contains("restored from the changelog") && number::<u32>(line, "task") == task
}

/// What a stopped node holds of a partition.
fn held(dir: &Path, partition: u32) -> (u128, u64, u64) {
    let options = StoreOptions { only_look: true, ..StoreOptions::default() };
    let (store, _) = SledStore::open(dir.join(format!("task-{partition}")), &options).unwrap();
    let Health { digest, entries, commit, .. } = store.health().unwrap();
    (digest, entries, commit)
}

#[test]
fn a_member_with_a_warm_copy_takes_over_with_only_the_tail_to_read() {
    let Some(place) = place("standby", 4) else { return };
    place.replay("local");
    let expected = place.local_risks();
    place.replay("kafka");
    let (mut a, mut b) = (Member::start(&place, "a"), Member::start(&place, "b"));
    let taken = b.await_warm(&place);
    let before = b.metric("nowcxr_restored_records_total").unwrap();
    let n_before = place.kafka_risks().len();

    // Before it became a copy it may have been b's own for a moment.
    let told = b.log(&place).len();
    a.service.0.kill().unwrap();
    a.service.0.wait().unwrap();
    let killed = Instant::now();
    let restored = loop {
        let log = b.log(&place).split_off(told);
        if let Some(line) = log.lines().find(|line| is_restore(line, taken)) {
            break line.to_owned();
        }
        assert!(killed.elapsed() < LONG, "not taken over within {LONG:?}: {log}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let (from, records): (u64, u64) = (number(&restored, "from"), number(&restored, "records"));
    println!(
        "killed at {n_before} of {} risk events; taken over {:?} later with {records} records from \
         changelog position {from} on",
        expected.len(),
        killed.elapsed()
    );
    assert!(from > 0, "it was restored from the start: {restored}");
    let counted = b.metric("nowcxr_restored_records_total").unwrap() - before;
    assert_eq!(counted, records as f64, "others were restored as well");
    assert_eq!(b.metric(&format!("nowcxr_standby_behind_records{{task=\"{taken}\"}}")), None);

    let started = Instant::now();
    while place.kafka_risks().len() < expected.len() && started.elapsed() < LONG {
        assert!(b.service.0.try_wait().unwrap().is_none(), "{}", b.log(&place));
        std::thread::sleep(Duration::from_millis(200));
    }
    // The copies are counted at each turn of their thread.
    while b.metric("nowcxr_standbys") != Some(0.0) {
        assert!(started.elapsed() < LONG, "the copy is still counted: {}", b.log(&place));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(stop(&mut b.service.0).success(), "{}", b.log(&place));
    assert!(place.sorted_kafka_risks() == expected, "{}", b.log(&place));

    // A node that restores everything from the start has the same to the byte, and more than the
    // tail to read.
    let output = place.nowcxr("run", "c").args(["--until-idle", "3"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (ours, fresh) = (place.path(&format!("{}b", place.prefix)), place.path("c"));
    for partition in [0, 1] {
        assert_eq!(held(&ours, partition), held(&fresh, partition), "task {partition}");
    }
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let whole = log.lines().find(|line| is_restore(line, taken)).unwrap();
    let whole: u64 = number(whole, "records");
    println!("a node without a copy read {whole} records for it");
    assert!(records < whole, "{records} of {whole} records");
}

#[test]
fn two_processes_with_warm_copies_do_not_share_a_directory() {
    let Some(place) = place("shared", 1) else { return };
    let first = Member::start(&place, "a");
    let started = Instant::now();
    while page(first.port, "/readyz").0 != 200 {
        assert!(started.elapsed() < LONG, "{}", first.log(&place));
        std::thread::sleep(Duration::from_millis(100));
    }
    let second = place.service("a").output().unwrap();
    assert!(!second.status.success());
    let log = first.log(&place);
    assert!(log.contains("needs a store.dir of its own"), "{log}");
}

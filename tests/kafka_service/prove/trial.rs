//! What the proofs by outage share: nodes of their own, the service while its broker is away, and
//! how soon and with how much memory it goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::place::{LONG, Place, Service};
use super::{QUIET, Watch, figures, settle, signal};

/// How long the service runs undisturbed before the first outage, which shows its steady memory.
const STEADY: Duration = Duration::from_secs(5);
/// After the first partition the others have so long to resume. One that has nothing left to say
/// does not.
const OTHERS: Duration = Duration::from_secs(10);
/// Between two looks at the memory.
const SAMPLE: Duration = Duration::from_millis(100);
/// What the outcome of a transaction is called that nobody has told.
const UNKNOWN: &str = "the changelog will tell its outcome";

/// Outages in seconds, none longer than `most`.
pub fn outages(most: u64) -> Vec<u64> {
    let text = std::env::var("NOWCXR_PROVE_OUTAGES").unwrap_or_else(|_| "1,10".to_owned());
    let seconds = text.split(',').filter_map(|text| text.trim().parse().ok());
    seconds.map(|seconds: u64| seconds.min(most)).collect()
}

/// A directory of `.ci/kafka`, all of whose nodes end with it, also when the test fails.
pub struct Nodes(tempfile::TempDir);

impl Nodes {
    pub fn new() -> Self {
        Nodes(tempfile::tempdir().unwrap())
    }

    pub fn first(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    pub fn second(&self) -> PathBuf {
        self.0.path().join("second")
    }

    /// Runs `.ci/kafka COMMAND DIR`.
    pub fn run(&self, command: &str, dir: &Path, more: &[&str]) -> String {
        ran(kafka(command, dir).args(more))
    }

    /// Sends a signal to the node of `dir`.
    pub fn signal(&self, dir: &Path, how: &str) {
        let pid = std::fs::read_to_string(dir.join("kafka.pid")).unwrap();
        assert!(Command::new("kill").args([how, pid.trim()]).status().unwrap().success());
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for dir in [self.second(), self.first()].iter().filter(|dir| dir.exists()) {
            drop(kafka("stop", dir).output());
        }
    }
}

pub fn kafka(command: &str, dir: &Path) -> Command {
    let mut kafka = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/kafka"));
    kafka.arg(command).arg(dir);
    kafka
}

pub fn ran(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The memory of a process over time, in KiB.
struct Memory {
    samples: Arc<Mutex<Vec<(Instant, u64)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Memory {
    fn of(pid: u32) -> Self {
        let (samples, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(AtomicBool::new(false)));
        let (into, stopped) = (Arc::clone(&samples), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                into.lock().unwrap().extend(resident(pid).map(|kib| (Instant::now(), kib)));
                thread::sleep(SAMPLE);
            }
        });
        Memory { samples, stop, thread: Some(thread) }
    }

    /// The most until `until`, and the most from then on.
    fn most(&self, until: Instant) -> (u64, u64) {
        let samples = self.samples.lock().unwrap();
        let most = |is_before: bool| {
            let of = samples.iter().filter(|(at, _)| (*at < until) == is_before);
            of.map(|(_, kib)| *kib).max().unwrap_or(0)
        };
        (most(true), most(false))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.take().map(JoinHandle::join);
    }
}

/// The service over a cluster that is disturbed again and again.
pub struct Trial<'a> {
    proof: &'static str,
    place: &'a Place,
    watch: Watch,
    service: Service,
    memory: Memory,
    disturbed: Instant,
    resumed: Vec<Duration>,
}

impl<'a> Trial<'a> {
    /// Starts the service and waits until it is steady. Its time-outs are so short that
    /// transactions end with an unknown outcome, which the changelog must settle. `watched` is the
    /// cluster by a way that nobody disturbs.
    pub fn begin(proof: &'static str, place: &'a Place, watched: &Place) -> Self {
        let watch = Watch::over(watched);
        let mut run = place.service("a");
        // With a long queue one task's questions would keep the other's answers waiting, and what
        // is measured would be the model.
        for setting in ["kafka.instance=a", "kafka.delivery_timeout=4s", "predict.queue=8"] {
            run.args(["--set", setting]);
        }
        let service = Service(run.spawn().unwrap());
        let memory = Memory::of(service.0.id());
        assert!(watch.first_after(Instant::now(), LONG).is_some(), "no output at all");
        thread::sleep(STEADY);
        Trial {
            proof,
            place,
            watch,
            service,
            memory,
            disturbed: Instant::now(),
            resumed: Vec::new(),
        }
    }

    /// Tells how soon each partition gives an output after `since`, of which `what` is said.
    pub fn resumes(&mut self, what: &str, since: Instant) {
        let times = self.watch.each_after(since, QUIET, OTHERS);
        println!("{}: {what}, then the first output of each partition: {times:.2?}", self.proof);
        self.resumed.extend(times.into_values());
        let ended = self.service.0.try_wait().unwrap();
        assert!(ended.is_none(), "the service has ended by itself: {ended:?}; {}", self.log());
    }

    pub fn log(&self) -> String {
        let name = format!("{}a.log", self.place.prefix);
        std::fs::read_to_string(self.place.path(&name)).unwrap()
    }

    /// Lets what is left be computed, and compares. Returns how many outcomes were unknown.
    pub fn end(mut self, expected: &[Vec<u8>]) -> usize {
        figures(&format!("{}: return to first committed output", self.proof), {
            assert!(!self.resumed.is_empty(), "{}: nothing ever resumed", self.proof);
            std::mem::take(&mut self.resumed)
        });
        let (steady, most) = self.memory.most(self.disturbed);
        println!("{}: memory {steady} KiB steady, {most} KiB at most since", self.proof);
        signal(&self.service.0, "-TERM");
        assert!(self.service.0.wait().unwrap().success(), "{}", self.log());
        let unknown = self.log().matches(UNKNOWN).count();
        println!("{}: {unknown} transactions with an unknown outcome", self.proof);
        settle(self.proof, self.place, expected);
        assert!(most <= 2 * steady, "{}: {most} KiB, of {steady} KiB steady", self.proof);
        unknown
    }
}

impl Watch {
    /// How long after `since` the next event of each partition came: of the first within `limit`,
    /// of the others within `more` after it.
    pub fn each_after(
        &self,
        since: Instant,
        limit: Duration,
        more: Duration,
    ) -> BTreeMap<i32, Duration> {
        let mut times = BTreeMap::new();
        let mut until = since + limit;
        while times.len() < 2 {
            let left = until.saturating_duration_since(Instant::now());
            let Ok((at, partition)) = self.seen.recv_timeout(left) else { break };
            if at <= since || times.contains_key(&partition) {
                continue;
            }
            if times.is_empty() {
                until = until.min(at + more);
            }
            times.insert(partition, at - since);
        }
        times
    }
}

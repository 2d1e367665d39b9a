//! Starting the binary, and the ward that its runs replay.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a run of a test may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(240);

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Fails unless the run ended with `code`, and without a panic whatever it was.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{}\n{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why} in\n{}", self.out))
    }
}

/// The binary in `dir`, untouched by the caller's environment.
pub fn nowcxr(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nowcxr"));
    tame(command.args(args).current_dir(dir));
    command
}

/// Takes the caller's settings away, and gives the model one thread.
pub fn tame(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NOWCXR_") {
            command.env_remove(name);
        }
    }
    // Tests run side by side, so none may take the default address.
    command.env("RAYON_NUM_THREADS", "1").env("NOWCXR_HTTP__LISTEN", "off").stdin(Stdio::null());
}

pub fn run(dir: &Path, args: &[&str]) -> Ran {
    ended(nowcxr(dir, args))
}

/// Starts with its output going to files, which no reader can block.
pub fn start(command: &mut Command, dir: &Path) -> Child {
    let file = |name: &str| std::fs::File::create(dir.join(name)).unwrap();
    command.stdout(file("out.txt")).stderr(file("err.txt")).spawn().unwrap()
}

/// What a started run has said and how it ended; one that hangs is ended and fails the test.
pub fn wait(mut child: Child, dir: &Path) -> Ran {
    let started = Instant::now();
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Ran { status, out: read("out.txt"), err: read("err.txt") };
        }
        if started.elapsed() > HUNG {
            child.kill().unwrap();
            panic!("the run hangs:\n{}\n{}", read("out.txt"), read("err.txt"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal, such as `-TERM`; whether it went out.
pub fn kill(signal: &str, pid: u32) -> bool {
    let pid = pid.to_string();
    Command::new("sh").args(["-c", "kill $0 $1", signal, &pid]).status().unwrap().success()
}

pub fn ended(mut command: Command) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let child = start(&mut command, dir.path());
    wait(child, dir.path())
}

/// `--set` for the shipped model; `None` where there is none, and the test is skipped.
pub fn model() -> Option<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    if !dir.join("weights.safetensors").is_file() {
        println!("skipped: there is no model in models/demo; make one with nowcxr train");
        return None;
    }
    Some(format!("predict.model={}", dir.display()))
}

/// A ward of few patients, written once for a test.
pub struct Ward {
    pub dir: TempDir,
    model: String,
}

impl Ward {
    /// `None` where there is no model.
    pub fn new(patients: u64) -> Option<Self> {
        let (dir, model) = (tempfile::tempdir().unwrap(), model()?);
        let patients = patients.to_string();
        run(dir.path(), &["synth", "--patients", &patients, "--seed", "4", "--out", "ward"])
            .expect(0);
        Some(Ward { dir, model })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A replay of the ward into `out`, with a window every three hours so that it is quick.
    pub fn replay(&self, out: &str, more: &[&str]) -> Command {
        let mut args = vec!["replay", "--mimic-iv", "ward/mimiciv", "--json"];
        args.extend(["--mimic-cxr", "ward/mimic-cxr-jpg", "--out", out]);
        args.extend(["--set", &self.model, "--set", "engine.every=3h"]);
        args.extend(more);
        nowcxr(self.path(), &args)
    }
}

/// Every file below `dir`.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

//! A process killed, and a disk that is full.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use super::*;

const CHILD: &str = "NOWCXR_TEST_STORE_CHILD";
const CHILD_DAMAGED: &str = "NOWCXR_TEST_STORE_DAMAGED";
const CHILD_FULL: &str = "NOWCXR_TEST_STORE_FULL";

/// Not a test of its own: the process that `kill_loses_nothing_flushed` kills. Commits by seed
/// for ever and prints the number of each flushed commit.
#[test]
fn child_that_commits() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let (mut store, _) = open(Path::new(&dir));
    store.set_config_digest(config());
    let rng = &mut ChaCha8Rng::seed_from_u64(7);
    let mut model = Model::default();
    for _ in 0..5_000u32 {
        let commit = random_commit(rng, &model);
        model.apply(&commit);
        store.commit(&commit).expect("commit");
        if commit.number.is_multiple_of(3) {
            store.flush().expect("flush");
            println!("flushed {}", commit.number);
        }
    }
}

/// Not a test of its own: commits until the disk is full, which `a_full_disk_is_an_error` arranges,
/// and then checks that the store says so to everything.
#[test]
fn child_that_fills() {
    let Ok(dir) = std::env::var(CHILD_FULL) else { return };
    let (mut store, _) = open(Path::new(&dir));
    store.set_config_digest(config());
    let rng = &mut ChaCha8Rng::seed_from_u64(7);
    let mut model = Model::default();
    let error = loop {
        let commit = random_commit(rng, &model);
        model.apply(&commit);
        let done = store.commit(&commit).and_then(|()| store.flush());
        match done {
            Ok(()) => println!("flushed {}", commit.number),
            Err(error) => break error,
        }
        assert!(commit.number < 5_000, "the disk never filled");
    };
    assert!(matches!(error, PortError::Reopen(_)), "{error:?}");
    assert!(error.to_string().contains("free space"), "{error}");
    assert!(matches!(store.get(b"\x01"), Err(PortError::Reopen(_))));
    assert!(matches!(store.flush(), Err(PortError::Reopen(_))));
    drop(store);
    println!("ended well");
}

/// The limit on file size stands for a full disk: both make writes fail in their middle.
#[test]
fn a_full_disk_is_an_error() {
    let dir = tempfile::tempdir().expect("dir");
    let output = limited("crash::child_that_fills", CHILD_FULL, dir.path(), 6_000);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("ended well"), "{text}");
    let flushed = flushed_by(&output.stdout);
    let (store, recovery) = open(dir.path());
    let found = store.opened().commit;
    println!("flushed {flushed}, found {found}, {recovery:?}");
    assert!(flushed > 0 && found >= flushed);
    let model = model_at(found);
    assert_eq!(store.opened(), &model.opened());
    assert!(content(&store, &[]) == model.values);
}

/// Runs the test `name` as a child that can write no file beyond `blocks`, and waits for it.
fn limited(name: &str, variable: &str, dir: &Path, blocks: u32) -> std::process::Output {
    let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut running = Command::new("sh")
        .args(["-c", &limit])
        .arg(std::env::current_exe().expect("self"))
        .args([name, "--exact", "--nocapture"])
        .env(variable, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("child");
    let began = std::time::Instant::now();
    while running.try_wait().expect("wait").is_none() {
        if began.elapsed().as_secs() > 120 {
            running.kill().expect("kill");
            panic!("the store hangs on a full disk");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    running.wait_with_output().expect("output")
}

/// Not a test of its own: opens a damaged store on a disk that takes no writes.
#[test]
fn child_that_opens_without_space() {
    let Ok(dir) = std::env::var(CHILD_DAMAGED) else { return };
    let error = SledStore::open(&dir, &StoreOptions::default()).expect_err("no space");
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("free space"), "{error}");
    println!("ended well");
}

#[test]
fn nothing_is_moved_aside_while_the_disk_is_full() {
    let parent = tempfile::tempdir().expect("dir");
    let dir = parent.path().join("task-0");
    let (mut store, _) = open(&dir);
    let rng = &mut ChaCha8Rng::seed_from_u64(7);
    let commit = random_commit(rng, &Model::default());
    store.commit(&commit).expect("commit");
    drop(store);
    std::fs::write(dir.join("sled-1/conf"), b"not sled's").expect("damage");
    let output = limited("crash::child_that_opens_without_space", CHILD_DAMAGED, &dir, 100);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("ended well"), "{text}");
    assert!(!parent.path().join("task-0.damaged-1").exists());
    let (_, recovery) = open(&dir);
    assert!(matches!(recovery, Recovery::MovedAside { .. }), "{recovery:?}");
}

/// What the children hold after commit `number`.
fn model_at(number: u64) -> Model {
    let rng = &mut ChaCha8Rng::seed_from_u64(7);
    let mut model = Model::default();
    for _ in 0..number {
        let commit = random_commit(rng, &model);
        model.apply(&commit);
    }
    model
}

/// Starts this test program again as the child of `dir`.
fn child(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("self"));
    command.args(["crash::child_that_commits", "--exact", "--nocapture"]).env(CHILD, dir);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn flushed_by(stdout: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(stdout).into_owned();
    // The last line may be cut in its middle.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|l| l.strip_prefix("flushed ")?.parse().ok()).max().unwrap_or(0)
}

/// Kills the child `ms` after it has first printed `word`; returns what it printed in all.
fn kill_after(mut running: Child, word: &str, ms: u64) -> Vec<u8> {
    let mut stdout = BufReader::new(running.stdout.take().expect("stdout"));
    let mut printed = Vec::new();
    while !String::from_utf8_lossy(&printed).contains(word) {
        assert!(stdout.read_until(b'\n', &mut printed).expect("read") > 0, "it ended early");
    }
    std::thread::sleep(std::time::Duration::from_millis(ms));
    running.kill().expect("kill");
    stdout.read_to_end(&mut printed).expect("read");
    running.wait().expect("wait");
    printed
}

#[test]
fn kill_loses_nothing_flushed() {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed());
    for round in 0..8 {
        let dir = tempfile::tempdir().expect("dir");
        let running = child(dir.path()).spawn().expect("child");
        let flushed = flushed_by(&kill_after(running, "flushed", below(rng, 250)));
        assert!(flushed > 0);
        let (store, recovery) = open(dir.path());
        let found = store.opened().commit;
        println!("round {round}: flushed {flushed}, found {found}, {recovery:?}");
        assert!(found >= flushed, "round {round}: lost {flushed}..{found}, {recovery:?}");
        let model = model_at(found);
        assert_eq!(store.opened(), &model.opened());
        assert!(content(&store, &[]) == model.values);
    }
}

//! A process killed, and a disk that is full.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use super::*;

const CHILD: &str = "NOWCXR_TEST_LOG_CHILD";

/// Not a test of its own: the process that the next two tests kill or starve.
#[test]
fn child_that_appends() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let log = LocalLog::open(&dir, LogOptions { segment_bytes: 100_000 }).expect("open");
    let lab = log.partition("lab", 0).expect("partition");
    let mut next = lab.last_sequence(1).unwrap_or(0) + 1;
    for round in 0..2_000_000u64 {
        let count = 1 + round % 37;
        let values: Vec<Vec<u8>> = (next..next + count).map(value).collect();
        let records: Vec<NewRecord<'_>> =
            (next..).zip(&values).map(|(sequence, value)| record(sequence, value)).collect();
        let appended = lab.append_batch(&records, at(1)).map(|_| ());
        let done = appended.and_then(|()| if round % 3 == 0 { lab.sync() } else { Ok(()) });
        if let Err(error) = done {
            assert!(matches!(error, LogError::Full { .. }), "{error:?}");
            assert!(matches!(PortError::from(error), PortError::Retry(_)));
            let again = lab.sync().expect_err("still full");
            assert!(matches!(again, LogError::Full { .. }), "{again:?}");
            journal_without_space(&log);
            println!("\nfull");
            return;
        }
        next += count;
        if round % 3 == 0 {
            println!("\nsynced {}", next - 1);
        }
    }
}

/// A journal append that fails for want of space has changed nothing, so it can be tried again.
fn journal_without_space(log: &LocalLog) {
    let mut journal = LocalJournal::open(log, 0, clock()).expect("journal");
    let fits = JournalRecord { after: vec![], input: vec![1; 1_000] };
    let large = JournalRecord { after: vec![], input: vec![2; 1_000_000] };
    journal.append(std::slice::from_ref(&fits)).expect("fits");
    for _ in 0..2 {
        let full = journal.append(&[fits.clone(), large.clone()]).expect_err("full");
        assert!(matches!(full, PortError::Retry(_)), "{full:?}");
        assert_eq!(journal.len(), 1);
    }
    journal.append(std::slice::from_ref(&fits)).expect("fits");
    let mut back = Vec::new();
    journal.read(&mut |record| back.push(record)).expect("read");
    assert_eq!(back, [fits.clone(), fits]);
}

fn child(dir: &Path, limit: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; {limit} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("self"))
        .args(["crash::child_that_appends", "--exact", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("child")
}

fn synced_by(stdout: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(stdout).into_owned();
    // The last line may be cut in its middle.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|l| l.strip_prefix("synced ")?.parse().ok()).max().unwrap_or(0)
}

/// Kills the child `ms` after it has first printed `word`; returns what it printed in all.
fn kill_after(mut running: Child, word: &str, ms: u64) -> Vec<u8> {
    let mut stdout = BufReader::new(running.stdout.take().expect("stdout"));
    let mut printed = Vec::new();
    while !String::from_utf8_lossy(&printed).contains(word) {
        assert!(stdout.read_until(b'\n', &mut printed).expect("read") > 0, "it ended early");
    }
    std::thread::sleep(Duration::from_millis(ms));
    running.kill().expect("kill");
    stdout.read_to_end(&mut printed).expect("read");
    running.wait().expect("wait");
    printed
}

#[test]
fn kill_loses_nothing_acknowledged() {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed());
    let dir = tempfile::tempdir().expect("dir");
    let mut acknowledged = 0;
    for round in 0..12 {
        let out = kill_after(child(dir.path(), ""), "synced", below(rng, 100));
        acknowledged = synced_by(&out).max(acknowledged);
        let log = LocalLog::open_read_only(dir.path()).expect("open");
        let lab = log.partition("lab", 0).expect("partition");
        let found = count_right(&read_all(&lab).expect("read"));
        println!("round {round}: synced {acknowledged}, found {found}, {:?}", lab.torn_tail());
        assert!(found >= acknowledged, "round {round}");
    }
    assert!(acknowledged > 0 && segments(&dir.path().join("lab-0")).len() > 1);
}

/// The limit on file size stands for a full disk: both make writes fail in their middle.
#[test]
fn a_full_disk_is_an_error_and_the_log_goes_on_when_there_is_space() {
    let dir = tempfile::tempdir().expect("dir");
    let out = child(dir.path(), "ulimit -f 150;").wait_with_output().expect("wait");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && text.contains("\nfull\n"), "{text}");
    let acknowledged = synced_by(&out.stdout);
    let log = open(dir.path());
    let lab = log.partition("lab", 0).expect("partition");
    let found = count_right(&read_all(&lab).expect("read"));
    println!("synced {acknowledged}, found {found}");
    assert!(acknowledged > 0 && found >= acknowledged);
    append(&lab, found + 1..found + 50);
    lab.sync().expect("sync");
    assert_eq!(count_right(&read_all(&lab).expect("read")), found + 49);
}

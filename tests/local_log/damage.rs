//! Torn tails, flipped bits, lost files.

use nowcxr::telemetry::{Metrics, name};

use super::*;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("mkdir");
    for entry in std::fs::read_dir(from).expect("dir").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}

/// A log that was closed by a crash: without the note of an orderly close.
fn crashed(dir: &Path) {
    std::fs::remove_file(dir.join("lab-0/end")).expect("remove");
}

/// Twelve records, of which the last five were synced together.
fn twelve(dir: &Path) -> PathBuf {
    let log = open(dir);
    let lab = log.partition("lab", 0).expect("partition");
    for batch in [1..4, 4..8, 8..13] {
        append(&lab, batch);
        lab.sync().expect("sync");
    }
    drop((lab, log));
    segments(&dir.join("lab-0")).pop().expect("segment")
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_to_the_last_whole_record() {
    let whole = tempfile::tempdir().expect("dir");
    let file = twelve(whole.path());
    crashed(whole.path());
    let good = std::fs::read(&file).expect("read");
    let name = file.strip_prefix(whole.path()).expect("inside").to_path_buf();
    let (mut kept_before, mut n_torn, told_before) = (0, 0, tails_told());
    for cut in 0..good.len() {
        let dir = tempfile::tempdir().expect("dir");
        copy(whole.path(), dir.path());
        std::fs::write(dir.path().join(&name), &good[..cut]).expect("cut");
        let log = open(dir.path());
        let lab = log.partition("lab", 0).expect("partition");
        let kept = count_right(&read_all(&lab).expect("read"));
        assert!(kept == kept_before || kept == kept_before + 1, "cut {cut}");
        kept_before = kept;
        let boundary = lab.torn_tail().is_none();
        n_torn += u64::from(!boundary);
        assert!(boundary || lab.torn_tail().expect("torn").at <= cut as u64);
        if cut % 7 != 0 {
            continue;
        }
        // The log goes on where it was cut, and what is sent again is not doubled.
        append(&lab, 1..14);
        lab.sync().expect("sync");
        drop((lab, log));
        let log = open(dir.path());
        let lab = log.partition("lab", 0).expect("partition");
        assert_eq!(lab.torn_tail(), None, "cut {cut}");
        assert_eq!(count_right(&read_all(&lab).expect("read")), 13, "cut {cut}");
    }
    assert_eq!(kept_before, 11);
    // Other tests of this process may cut tails meanwhile.
    let told = tails_told() - told_before;
    assert!(n_torn > 100 && told >= n_torn, "{n_torn} tails were cut, {told} told");
}

/// Torn tails that this process has counted.
fn tails_told() -> u64 {
    let text = Metrics::global().expect("metrics").render().expect("text");
    let line =
        text.lines().find_map(|line| line.strip_prefix(name::LOG_TAILS_CUT)?.strip_prefix(' '));
    line.expect("a counter").parse().expect("a number")
}

#[test]
fn a_tail_lost_after_an_orderly_close_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let file = twelve(dir.path());
    let good = std::fs::read(&file).expect("read");
    for cut in [good.len() - 1, good.len() / 2, 0] {
        std::fs::write(&file, &good[..cut]).expect("cut");
        let refused = open(dir.path()).partition("lab", 0).expect_err("lost");
        assert!(matches!(refused, LogError::Damaged { .. }), "cut {cut}: {refused}");
        std::fs::write(&file, &good).expect("restore");
    }
    let log = open(dir.path());
    assert_eq!(read_all(&log.partition("lab", 0).expect("whole")).expect("read").len(), 12);
}

#[test]
fn no_flipped_bit_gives_a_wrong_record_or_loses_an_acknowledged_one() {
    let whole = tempfile::tempdir().expect("dir");
    let file = twelve(whole.path());
    crashed(whole.path());
    let name = file.strip_prefix(whole.path()).expect("inside").to_path_buf();
    let good = std::fs::read(&file).expect("read");
    let (mut refused, mut cut) = (0, 0);
    // The frame's own tests flip every bit; here one of each byte goes through the files.
    for bit in (0..good.len()).map(|byte| byte * 8 + byte % 8) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&file, &bad).expect("write");
        let log = LocalLog::open_read_only(whole.path()).expect("open");
        match log.partition("lab", 0) {
            Err(LogError::Damaged { .. } | LogError::FutureVersion { .. }) => refused += 1,
            Err(other) => panic!("bit {bit}: {other}"),
            Ok(lab) => {
                // Only the last group has nothing behind it that shows it was acknowledged.
                let kept = count_right(&read_all(&lab).expect("read"));
                assert!((7..12).contains(&kept), "bit {bit} of {name:?}: {kept} kept");
                cut += 1;
            }
        }
    }
    println!("refused {refused}, cut {cut} of {}", good.len());
    assert!(refused > cut && cut > 0);
}

#[test]
fn damage_in_an_older_segment_stops_the_reader() {
    let seed = seed();
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("dir");
    let log = LocalLog::open(dir.path(), SMALL).expect("open");
    let lab = log.partition("lab", 0).expect("partition");
    for i in 0..30 {
        append(&lab, i * 5 + 1..i * 5 + 6);
        lab.sync().expect("sync");
    }
    drop((lab, log));
    let files = segments(&dir.path().join("lab-0"));
    for trial in 0..100 {
        let path = &files[below(rng, files.len() as u64 - 1) as usize];
        let good = std::fs::read(path).expect("read");
        let mut bad = good.clone();
        let byte = below(rng, good.len() as u64) as usize;
        match trial % 3 {
            0 => bad.truncate(byte),
            1 => bad[byte..].fill(0),
            _ => bad[byte] ^= 1 << below(rng, 8),
        }
        if bad == good {
            continue;
        }
        std::fs::write(path, &bad).expect("write");
        let log = LocalLog::open(dir.path(), SMALL).expect("open");
        let read = log.partition("lab", 0).and_then(|lab| read_all(&lab));
        let what = format!("seed {seed} trial {trial} byte {byte} of {path:?}: {read:?}");
        assert!(
            matches!(read, Err(LogError::Damaged { .. } | LogError::FutureVersion { .. })),
            "{what}"
        );
        drop(log);
        std::fs::write(path, &good).expect("restore");
    }
    std::fs::remove_file(&files[1]).expect("remove");
    let missing = LocalLog::open(dir.path(), SMALL).expect("open").partition("lab", 0);
    assert!(matches!(missing, Err(LogError::Damaged { .. })));
}

#[test]
fn a_segment_that_was_being_made_is_made_again() {
    let dir = tempfile::tempdir().expect("dir");
    twelve(dir.path());
    for length in [0, 7, 15] {
        let path = dir.path().join("lab-0/00000000000000000012.log");
        std::fs::write(&path, vec![0u8; length]).expect("write");
        let log = open(dir.path());
        let lab = log.partition("lab", 0).expect("partition");
        assert_eq!(lab.torn_tail().map(|torn| torn.path.clone()), Some(path));
        assert_eq!(count_right(&read_all(&lab).expect("read")), 12);
    }
}

//! What a person gets to read when something outside is wrong: what, where, and what to do.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use super::support::{Ward, ended, files, model, nowcxr, run, tame};

fn replay(dir: &Path, more: &[&str]) -> String {
    let model = model().unwrap();
    let mut args = vec!["replay", "--out", "out", "--set", &model];
    args.extend(more);
    run(dir, &args).expect(1).err
}

#[test]
fn a_data_set_that_is_not_there_is_named() {
    if model().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let said = replay(dir.path(), &["--mimic-iv", "nowhere"]);
    assert!(said.contains("nowhere") && said.contains("name the directory"), "{said}");
    fs::create_dir_all(dir.path().join("empty")).unwrap();
    let said = replay(dir.path(), &["--mimic-iv", "empty"]);
    assert!(said.contains("empty: holds neither hosp/patients.csv nor"), "{said}");
    assert!(said.contains("name the directory"), "{said}");
    fs::write(dir.path().join("file"), "").unwrap();
    let said = replay(dir.path(), &["--mimic-iv", "file"]);
    assert!(said.contains("file:") && said.contains("name the directory"), "{said}");
}

#[test]
fn a_table_that_cannot_be_read_is_named_with_its_column_or_row() {
    let Some(ward) = Ward::new(1) else { return };
    let hosp = ward.path().join("ward/mimiciv/hosp");
    let labs = hosp.join("labevents.csv.gz");
    let good = fs::read(&labs).unwrap();
    // A plain file stands before the packed one.
    let plain = hosp.join("labevents.csv");
    fs::write(&plain, "labevent_id,subject_id,itemid,charttime,value\n1,2,3,4,5\n").unwrap();
    let said = ended(ward.replay("out", &[])).expect(1).err;
    assert!(said.contains("labevents.csv: missing columns"), "{said}");
    assert!(said.contains("\"storetime\"") && said.contains("\"valuenum\""), "{said}");
    fs::remove_file(&plain).unwrap();
    fs::write(&labs, &good[..good.len() / 2]).unwrap();
    let said = ended(ward.replay("out", &[])).expect(1).err;
    assert!(said.contains("labevents.csv.gz:") && said.contains("download it again"), "{said}");
    fs::write(&labs, b"this is not gzip").unwrap();
    let said = ended(ward.replay("out", &[])).expect(1).err;
    assert!(said.contains("labevents.csv.gz"), "{said}");
    fs::remove_file(&labs).unwrap();
    fs::create_dir(&labs).unwrap();
    let said = ended(ward.replay("out", &[])).expect(1).err;
    assert!(said.contains("hosp/labevents.csv"), "{said}");
}

/// Each row or record that was not used has one line in `dead_letters.jsonl`, whoever found it.
#[test]
fn rows_that_cannot_be_told_are_among_the_dead_letters() {
    let Some(ward) = Ward::new(1) else { return };
    let hosp = ward.path().join("ward/mimiciv/hosp");
    let packed = fs::File::open(hosp.join("labevents.csv.gz")).unwrap();
    let mut table = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut table).unwrap();
    let header: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let emptied = |line: &str| {
        let cells = header.iter().zip(line.split(','));
        let keep = |(name, cell)| if ["value", "valuenum"].contains(name) { "" } else { cell };
        cells.map(keep).collect::<Vec<_>>().join(",")
    };
    let rows = table.lines().skip(1).map(emptied);
    let spoilt = std::iter::once(header.join(",")).chain(rows).collect::<Vec<_>>().join("\n");
    fs::write(hosp.join("labevents.csv"), spoilt).unwrap();
    ended(ward.replay("out", &[])).expect(0);
    let read = |name: &str| fs::read_to_string(ward.path().join("out").join(name)).unwrap();
    let books: serde_json::Value = serde_json::from_str(&read("reconciliation.json")).unwrap();
    let of_all = |half: &str| {
        let each = books[half].as_object().unwrap().values();
        let reasons = each.flat_map(|counts| counts["rejected"].as_object().unwrap().values());
        reasons.map(|n| n.as_u64().unwrap()).sum::<u64>()
    };
    let (untold, unused) = (of_all("tables"), of_all("engine"));
    assert!(untold > 0, "no row was spoilt: {books}");
    let letters = read("dead_letters.jsonl");
    assert_eq!(letters.lines().count() as u64, untold + unused, "{letters}");
    let of_table = letters.lines().filter(|letter| letter.contains("hosp/labevents"));
    assert_eq!(of_table.count() as u64, untold, "{letters}");
}

#[test]
fn a_model_that_cannot_be_used_stops_before_the_recording_is_read() {
    let Some(ward) = Ward::new(1) else { return };
    let said = ended(ward.replay("out", &["--set", "predict.model=nowhere"])).expect(1).err;
    assert!(said.contains("the model in nowhere cannot be used"), "{said}");
    assert!(!said.contains("reading the recording"), "{said}");
    fs::create_dir(ward.path().join("hollow")).unwrap();
    fs::write(ward.path().join("hollow/manifest.json"), "{").unwrap();
    let said = ended(ward.replay("out", &["--set", "predict.model=hollow"])).expect(1).err;
    assert!(said.contains("hollow"), "{said}");
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let Some(ward) = Ward::new(1) else { return };
    fs::write(ward.path().join("file"), "mine").unwrap();
    let said = ended(ward.replay("file/out", &[])).expect(1).err;
    assert!(said.contains("cannot make file/out"), "{said}");
    let synth = run(ward.path(), &["synth", "--patients", "1", "--out", "file/ward"]);
    let said = synth.expect(1).err;
    assert!(said.contains("file/ward") && said.contains("check the disk"), "{said}");
    assert_eq!(fs::read_to_string(ward.path().join("file")).unwrap(), "mine");
}

#[test]
fn two_runs_in_one_directory_are_kept_apart() {
    let Some(ward) = Ward::new(1) else { return };
    let slow = ["--speed", "60"];
    let place = tempfile::tempdir().unwrap();
    let mut first = super::support::start(&mut ward.replay("out", &slow), place.path());
    let lock = ward.path().join("out/state/reached");
    while !lock.exists() {
        assert!(first.try_wait().unwrap().is_none(), "the first run ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let said = ended(ward.replay("out", &slow)).expect(1).err;
    assert!(said.contains("another process") && said.contains("stop it"), "{said}");
    let said = run(ward.path(), &["inspect", "--out", "out"]).expect(1).err;
    assert!(said.contains("another process"), "{said}");
    first.kill().unwrap();
    first.wait().unwrap();
}

/// Looking at a damaged store repairs nothing and hides nothing; the run that owns it rebuilds it.
/// sled notices some damage, and some costs it everything without a word: then the store stands at
/// an earlier commit than was flushed.
#[test]
fn a_damaged_store_is_said_by_inspect_and_rebuilt_by_the_run() {
    let Some(ward) = Ward::new(1) else { return };
    let calm = ended(ward.replay("out", &[])).expect(0).json();
    let state = ward.path().join("out/state");
    let largest = files(&state).into_iter().max_by_key(|path| path.metadata().unwrap().len());
    let path = largest.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x5a);
    fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        let looked = run(ward.path(), &["inspect", "--out", "out"]);
        let said = format!("{}{}", looked.out, looked.err);
        assert!(said.contains("is damaged (") || said.contains("RolledBack"), "{said}");
        assert!(!ward.path().join("out/state.damaged-1").exists(), "{said}");
    }
    let again = ended(ward.replay("out", &[])).expect(0);
    let why_and_where = again.err.contains("why=") && again.err.contains("state.damaged-1");
    assert!(
        why_and_where || again.err.contains("store has lost its last commits"),
        "{}",
        again.err
    );
    let again = again.json();
    assert_eq!(again["digest"], calm["digest"]);
    assert_eq!(again["events"], calm["events"]);
    let whole = run(ward.path(), &["inspect", "--out", "out"]).expect(0).json();
    assert_eq!(whole["opened"], "Clean");
}

/// A limit on the size of files stands for a disk that fills up: writes fail from then on. The
/// signal that comes with it is ignored, as a full disk sends none.
#[test]
fn a_full_disk_is_said_and_the_run_goes_on_when_there_is_room() {
    let Some(ward) = Ward::new(1) else { return };
    let calm = ended(ward.replay("calm", &[])).expect(0).json();
    let run = ward.replay("out", &[]);
    for blocks in [0u32, 1, 40, 1_100, 2_100, 3_500] {
        let mut limited = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\" 2>&1 | cat");
        // Through a pipe, because what the run says must not count against its limit.
        let script = format!("exec 3>&1; ( {script} ); exit 0");
        limited.args(["-c", &script]).arg(run.get_program()).args(run.get_args());
        tame(limited.current_dir(ward.path()));
        let said = limited.output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(!said.contains("panicked"), "limit {blocks}: {said}");
        if said.contains("error:") {
            let told = ["disk", "space", "write"].iter().any(|word| said.contains(word));
            assert!(told && said.contains("out"), "limit {blocks}: {said}");
        } else {
            assert!(said.contains("\"digest\""), "limit {blocks}: neither an error nor an end");
        }
        println!("limit {blocks}: {}", said.lines().last().unwrap_or_default());
    }
    let whole = ended(ward.replay("out", &[])).expect(0).json();
    assert_eq!(whole["digest"], calm["digest"]);
    assert_eq!(whole["events"], calm["events"]);
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    if model().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let said = replay(dir.path(), &["--mimic-iv", ".", "--with-film"]);
    assert!(said.contains("with_film") && said.contains("MIMIC-CXR"), "{said}");
    let said = ended(nowcxr(dir.path(), &["synth", "--patients", "0", "--out", "x"])).expect(1).err;
    assert!(said.contains("patients must be"), "{said}");
}

#[test]
fn a_command_that_ends_does_not_say_that_it_tries_again() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = ["--set", "kafka.brokers=127.0.0.1:1"];
    let said = run(dir.path(), &[&["topics", "check"][..], &nobody].concat()).expect(1).err;
    assert!(said.contains("check that a broker runs at 127.0.0.1:1"), "{said}");
    assert!(!said.contains("trying again"), "{said}");
}

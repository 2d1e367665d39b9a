//! The alerts of a log, followed by another process while the log is written and after that.

use std::collections::BTreeMap;
use std::time::Duration;

use nowcxr::ports::{AlertFeed as _, AlertPlace, AlertStored};
use nowcxr::transport::local::LocalAlerts;

use super::*;

fn alert(number: u64) -> Output {
    Output {
        number,
        kind: OutputKind::Alert,
        stay: Some(StayId(1)),
        payload: format!("alert {number}").into_bytes(),
        envelope: b"{}".to_vec(),
    }
}

fn fetched(feed: &mut LocalAlerts, max: usize) -> Vec<String> {
    let mut records: Vec<AlertStored> = Vec::new();
    feed.fetch(max, Duration::ZERO, &mut records).expect("fetch");
    records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
}

#[test]
fn a_consumer_goes_on_where_it_committed_and_sees_what_is_appended_meanwhile() {
    let dir = tempfile::tempdir().expect("dir");
    let (path, positions) = (dir.path().join("log"), dir.path().join("ward.json"));
    let log = LocalLog::open(&path, LogOptions::default()).expect("open");
    let mut outlet = LocalOutlet::open(&log, 0, clock()).expect("outlet");
    let open = || LocalAlerts::open(&path, &positions).expect("a feed");
    let mut feed = open();
    assert!(fetched(&mut feed, 9).is_empty(), "nothing yet");
    outlet.send(&[alert(1), alert(2), alert(3)]).expect("send");
    assert_eq!(fetched(&mut feed, 2), ["alert 1", "alert 2"]);
    assert_eq!(fetched(&mut feed, 2), ["alert 3"]);
    outlet.send(&[alert(4)]).expect("send");
    assert_eq!(fetched(&mut feed, 2), ["alert 4"]);
    assert_eq!(fetched(&mut open(), 9).len(), 4, "nothing was committed");
    feed.commit(&[AlertPlace { partition: 0, offset: 2 }]).expect("commit");
    assert_eq!(fetched(&mut open(), 9), ["alert 3", "alert 4"]);
    let kept = std::fs::read_to_string(&positions).expect("a file");
    let kept: BTreeMap<u32, u64> = serde_json::from_str(&kept).expect("JSON");
    assert_eq!(kept, BTreeMap::from([(0, 2)]));
}

#[test]
fn damaged_positions_are_refused_with_the_way_out() {
    let dir = tempfile::tempdir().expect("dir");
    let positions = dir.path().join("ward.json");
    std::fs::write(&positions, "no positions").expect("write");
    let refused = LocalAlerts::open(dir.path(), &positions).err().expect("an error").to_string();
    assert!(refused.contains("ward.json") && refused.contains("remove it"), "{refused}");
}

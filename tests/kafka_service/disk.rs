//! A disk that is full: a small one in memory, which only root may mount.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::place::{LONG, Place, Service, free_port, page, place};
use super::stop;

/// After a commit has failed, the node says so within this time.
const TOLD: Duration = Duration::from_secs(1);
/// How long the disk stays full.
const FULL: Duration = Duration::from_secs(5);
const SIZE: &str = "size=12m";

/// A mounted disk, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&at).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("skipped: no disk can be mounted here; run this as root");
            return None;
        }
        Some(Disk(at))
    }

    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        // Ever smaller pieces, until not a byte fits.
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0u8; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().unwrap();
    }
}

fn await_ready(port: u16, wanted: u16) -> Duration {
    let started = Instant::now();
    loop {
        let (status, body) = page(port, "/readyz");
        if status == wanted {
            return started.elapsed();
        }
        assert!(started.elapsed() < LONG, "not {wanted} within {LONG:?} but {status}: {body}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn log(place: &Place) -> String {
    std::fs::read_to_string(place.path(&format!("{}small.log", place.prefix))).unwrap()
}

#[test]
fn a_full_disk_is_told_and_survived() {
    let Some(place) = place("disk", 3) else { return };
    let Some(disk) = Disk::mount(place.path("small")) else { return };
    place.replay("local");
    let expected = place.local_risks();
    let port = free_port();
    let mut run = place.service("small");
    run.args(["--set", &format!("store.dir={}", disk.0.display())]);
    run.args(["--set", &format!("http.listen=127.0.0.1:{port}")]);
    let mut service = Service(run.spawn().unwrap());
    await_ready(port, 200);

    disk.fill();
    place.replay("kafka");
    let started = Instant::now();
    while !log(&place).contains("opened anew") {
        assert!(started.elapsed() < LONG, "nothing has failed: {}", log(&place));
        std::thread::sleep(Duration::from_millis(5));
    }
    let told = await_ready(port, 503);
    assert!(told <= TOLD, "not ready after {told:?}");
    let full = Instant::now();
    while full.elapsed() < FULL {
        let (status, body) = page(port, "/readyz");
        assert_eq!(status, 503, "{body}");
    }
    assert!(log(&place).contains("No space left"), "{}", log(&place));

    disk.make_room();
    let back = await_ready(port, 200);
    println!("not ready {told:?} after the failure was told; ready {back:?} after there was room");
    let started = Instant::now();
    while place.kafka_risks().len() < expected.len() && started.elapsed() < LONG {
        assert!(service.0.try_wait().unwrap().is_none(), "{}", log(&place));
    }
    assert!(stop(&mut service.0).success(), "{}", log(&place));
    assert!(place.sorted_kafka_risks() == expected, "{}", log(&place));
}

//! Outputs under (task, number), also when a send was interrupted.

use super::*;

fn output(number: u64, kind: OutputKind) -> Output {
    Output {
        number,
        kind,
        stay: number.is_multiple_of(2).then_some(StayId(number)),
        payload: format!("payload {number}").into_bytes(),
        envelope: format!("{{\"n\":{number}}}").into_bytes(),
    }
}

const KINDS: [OutputKind; 4] =
    [OutputKind::Risk, OutputKind::Alert, OutputKind::DeadLetter, OutputKind::View];

fn random_outputs(rng: &mut ChaCha8Rng, first: u64) -> Vec<Output> {
    let count = below(rng, 6);
    (first..first + count).map(|n| output(n, KINDS[below(rng, 4) as usize])).collect()
}

/// What stands in all topics, by number; every number once.
fn stored(log: &LocalLog) -> Vec<Output> {
    let mut all = Vec::new();
    for kind in KINDS {
        let mut last = 0;
        for stored in outputs(log, kind, 4).expect("topic") {
            let stored = stored.expect("output");
            assert!(stored.number > last);
            last = stored.number;
            let (number, stay) = (stored.number, stored.stay);
            let (payload, envelope) = (stored.payload.to_vec(), stored.envelope.to_vec());
            all.push(Output { number, kind, stay, payload, envelope });
        }
    }
    all.sort_by_key(|output| output.number);
    all
}

/// A crash in the middle of a send leaves some topics with it and some without. What is then
/// sent again must fill the gaps and double nothing.
#[test]
fn an_interrupted_send_is_completed_and_not_doubled() {
    for seed in seed()..seed() + 40 {
        println!("seed {seed}");
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let dir = tempfile::tempdir().expect("dir");
        let options = LogOptions { segment_bytes: 1 + below(rng, 3_000) };
        let mut sent: Vec<Output> = Vec::new();
        let mut last_send = 1;
        {
            let log = LocalLog::open(dir.path(), options.clone()).expect("open");
            let mut outlet = LocalOutlet::open(&log, 4, clock()).expect("outlet");
            for _ in 0..below(rng, 40) {
                let next = random_outputs(rng, sent.len() as u64 + 1);
                last_send = sent.len() as u64 + 1;
                outlet.send(&next).expect("send");
                sent.extend(next);
                assert_eq!(outlet.last_number(), sent.len() as u64);
            }
        }
        {
            let log = LocalLog::open(dir.path(), options.clone()).expect("open");
            let outlet = LocalOutlet::open(&log, 4, clock()).expect("outlet");
            assert_eq!(outlet.last_number(), sent.len() as u64, "seed {seed}: clean close");
            assert_eq!(stored(&log), sent);
        }
        // Tear the last send out of one topic, as if its sync had never come.
        let torn = KINDS[below(rng, 4) as usize];
        let gone = |o: &Output| o.kind == torn && o.number >= last_send;
        let complete = sent.iter().find(|o| gone(o)).map_or(sent.len() as u64, |o| o.number - 1);
        tear(dir.path(), torn, sent.iter().filter(|o| gone(o)).count());
        let log = LocalLog::open(dir.path(), options).expect("open");
        let mut outlet = LocalOutlet::open(&log, 4, clock()).expect("outlet");
        assert_eq!(outlet.last_number(), complete, "seed {seed}: {torn:?} torn");
        let rest: Vec<Output> =
            sent.iter().filter(|o| o.number > outlet.last_number()).cloned().collect();
        outlet.send(&rest).expect("send");
        assert_eq!(stored(&log), sent, "seed {seed}");
        assert_eq!(outlet.last_number(), sent.len() as u64);
    }
}

/// Cuts the last `count` records off a topic's newest segments.
fn tear(dir: &Path, kind: OutputKind, count: usize) {
    let dir = dir.join(format!("{}-4", nowcxr::transport::local::topic_of_kind(kind)));
    std::fs::remove_file(dir.join("end")).expect("remove");
    for _ in 0..count {
        loop {
            let newest = segments(&dir).pop().expect("segment");
            let bytes = std::fs::read(&newest).expect("read");
            let frames = frame_starts(&bytes);
            match frames.last() {
                Some(start) => {
                    let file = OpenOptions::new().write(true).open(&newest).expect("open");
                    file.set_len(*start as u64).expect("cut");
                    break;
                }
                None => std::fs::remove_file(&newest).expect("remove"),
            }
        }
    }
}

/// Where the frames of a whole segment begin.
fn frame_starts(bytes: &[u8]) -> Vec<usize> {
    let word =
        |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let mut at = 16 + word(8);
    let mut starts = Vec::new();
    while at < bytes.len() {
        starts.push(at);
        at += 8 + word(at + 4);
    }
    starts
}

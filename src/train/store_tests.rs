//! Files of samples: what was put in comes out, and damage is noticed wherever it is.

use super::*;

const KEY: Digest = Digest([7; 32]);

fn film(shade: u8) -> PreparedFilm {
    PreparedFilm::new(vec![shade; 224 * 224]).unwrap()
}

fn series(n: usize) -> Vec<f64> {
    (0..79 * n).map(|i| (i as f64).sin() / 3.0).collect()
}

/// Three films, a pair and two windows of the training split, a film of the test split.
fn write(path: &Path) {
    let mut out = SampleWriter::create(path, KEY).unwrap();
    for shade in [3, 4, 5] {
        let head = Head::Film { findings: u16::from(shade) };
        out.put(0, &head, Body::Film(&film(shade))).unwrap();
    }
    out.put(2, &Head::Film { findings: 0 }, Body::Film(&film(9))).unwrap();
    let pair = Head::Pair { reference: 0, target: 2, gap_h: 20.5 };
    out.put(0, &pair, Body::Series(&[&series(21)])).unwrap();
    let window = |film| Head::Window { stay: 30, t_h: 48.0, film, died: true, phenotypes: 0b101 };
    out.put(0, &window(Some((1, 7.5))), Body::Series(&[&series(48), &series(12)])).unwrap();
    out.put(0, &window(None), Body::Series(&[&series(48)])).unwrap();
    out.finish([1, 0, 1]).unwrap();
}

#[test]
fn what_was_put_in_comes_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/samples.bin");
    write(&path);
    assert!(!path.with_extension("part").exists());
    let splits = SampleFile::open(&path, KEY).unwrap();
    let train = &splits.train;
    assert_eq!((train.films.len(), train.pairs.len(), train.windows.len()), (3, 1, 2));
    assert_eq!((train.stays, splits.test.films.len(), splits.test.stays), (1, 1, 1));
    for (sample, shade) in train.films.iter().zip([3, 4, 5]) {
        assert_eq!(sample.film().unwrap(), film(shade));
    }
    assert_eq!(train.films[2].findings[..3], [1.0, 0.0, 1.0]);
    assert_eq!(train.pairs[0].ehr.raw().unwrap()[..], series(21));
    assert_eq!((train.pairs[0].reference, train.pairs[0].target), (0, 2));
    let window = &train.windows[0];
    assert_eq!(window.film.as_ref().unwrap().ehr.raw().unwrap()[..], series(12));
    assert_eq!(window.ehr.raw().unwrap()[..], series(48));
    assert!(window.died && window.phenotypes[2] && !window.phenotypes[1]);
    assert!(train.windows[1].film.is_none());
}

#[test]
fn memory_stays_within_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("samples.bin");
    write(&path);
    let most = 60_000;
    let splits = SampleFile::open_with(&path, KEY, most).unwrap();
    let Picked(file) = Picked::of(&splits);
    for _ in 0..3 {
        for sample in &splits.train.films {
            sample.film().unwrap();
            let inner = file.inner.lock().unwrap();
            assert!(inner.bytes <= most && inner.kept.len() <= 1, "{} bytes kept", inner.bytes);
        }
    }
}

/// The file behind a split's films.
struct Picked(Arc<SampleFile>);

impl Picked {
    fn of(splits: &Splits) -> Self {
        Picked(splits.train.films[0].place().unwrap().file.clone())
    }
}

#[test]
fn another_key_and_no_file_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("samples.bin");
    let refused = |key| SampleFile::open(&path, key).err();
    assert_eq!(refused(KEY), Some(Refusal::Absent));
    write(&path);
    assert_eq!(refused(Digest([8; 32])), Some(Refusal::Other));
    assert_eq!(refused(KEY), None);
}

#[test]
fn every_flipped_byte_and_every_cut_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("samples.bin");
    write(&path);
    let good = std::fs::read(&path).unwrap();
    for at in (40..good.len()).step_by(997).chain([40, 41, 45, 49, good.len() - 1]) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&path, &bad).unwrap();
        assert!(matches!(SampleFile::open(&path, KEY), Err(Refusal::Damaged(_))), "byte {at}");
    }
    for length in [0, 7, 39, 40, 52, 60_000, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        assert!(matches!(SampleFile::open(&path, KEY), Err(Refusal::Damaged(_))), "cut {length}");
    }
}

#[test]
fn damage_after_opening_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("samples.bin");
    write(&path);
    let splits = SampleFile::open(&path, KEY).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1_000).unwrap();
    let error = splits.train.films[0].film().unwrap_err().to_string();
    assert!(error.contains("samples.bin") && error.contains("again"), "{error}");
}

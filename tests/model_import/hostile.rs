//! Checkpoints that are damaged or mean harm.

use nowcxr::model::import::{ImportError, Noise, import};
use nowcxr::model::weights::{read_safetensors, write_safetensors};

use super::{ALL, fixture, request};

/// What comes of an import with these bytes in the place of the mortality model.
fn with_bytes(bytes: &[u8], name: &str) -> Result<(), ImportError> {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).expect("written");
    let mut hostile = request(&ALL);
    hostile.checkpoints[2] = path;
    import(hostile).map(|_| ())
}

/// PyTorch itself made this file of a tensor and of an object whose unpickling runs a command that
/// would leave a file behind.
#[test]
fn code_in_a_checkpoint_is_not_run() {
    let mut hostile = request(&ALL);
    hostile.noise = Noise::File(fixture("tiny_hostile.pt"));
    let (_, report) = import(hostile).expect("its tensor is sound");
    assert!(!std::env::temp_dir().join("nowcxr-hostile-checkpoint-ran").exists());
    assert!(report.noise.contains("tiny_hostile.pt"));
}

#[test]
fn a_cut_checkpoint_is_refused_in_words() {
    for (file, step) in [(ALL[2], 3_331), (ALL[3], 3_331)] {
        let bytes = std::fs::read(fixture(file)).expect("file");
        for cut in (0..bytes.len()).step_by(step) {
            let error = with_bytes(&bytes[..cut], file).expect_err("cut").to_string();
            assert!(error.contains("cannot be imported"), "{file} cut at {cut}: {error}");
        }
    }
}

/// Every byte of a small file is tried in the unit tests of the reader.
#[test]
fn a_changed_byte_never_panics() {
    let bytes = std::fs::read(fixture(ALL[2])).expect("file");
    // The pickle with its names, shapes and offsets, which stands first, and the directory.
    let pickle = 0..bytes.len() / 4;
    let directory = bytes.len() - bytes.len() / 8..bytes.len();
    for at in pickle.step_by(1501).chain(directory.step_by(977)) {
        for value in [0x00, 0xff, bytes[at] ^ 0x01] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            if let Err(error) = with_bytes(&wrong, ALL[2]) {
                assert!(error.to_string().len() > 20, "{error}");
            }
        }
    }
}

#[test]
fn what_is_no_checkpoint_is_refused_in_words() {
    let mut huge = u64::MAX.to_le_bytes().to_vec();
    huge.extend(b"{}");
    let beyond = br#"{"fusion_tf.cls_token":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    let mut short = (beyond.len() as u64).to_le_bytes().to_vec();
    short.extend(beyond);
    for bytes in [&b""[..], b"PK", b"PK\x03\x04", b"not a checkpoint", &huge, &short] {
        let error = with_bytes(bytes, "bad.ckpt").expect_err("no checkpoint").to_string();
        assert!(error.starts_with("bad.ckpt cannot be imported: it"), "{error}");
    }
    let mut folder = request(&ALL);
    folder.checkpoints[2] = fixture("");
    assert!(import(folder).is_err());
    let mut nowhere = request(&ALL);
    nowhere.checkpoints[2] = fixture("none.ckpt");
    assert!(matches!(import(nowhere), Err(ImportError::Io { .. })));
}

/// PyTorch compresses nothing; an archive that does could unpack to any size.
#[test]
fn a_compressed_archive_is_refused() {
    let mut hostile = request(&ALL);
    hostile.noise = Noise::File(fixture("tiny_compressed.pt"));
    let error = import(hostile).expect_err("compressed").to_string();
    assert!(error.contains("compressed"), "{error}");
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let bytes = std::fs::read(fixture(ALL[3])).expect("file");
    let mut tensors = read_safetensors(&bytes, false).expect("tensors");
    tensors.get_mut("fusion_tf.cls_token").expect("there").values[2] = f32::NAN;
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("nan.safetensors");
    std::fs::write(&path, write_safetensors(&tensors).expect("bytes")).expect("written");
    let mut hostile = request(&ALL);
    hostile.checkpoints[3] = path;
    let error = import(hostile).expect_err("not finite").to_string();
    assert!(error.contains("fusion_tf.cls_token holds a number that is not finite"), "{error}");
}

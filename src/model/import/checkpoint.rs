//! A checkpoint file of either format: which tensors it holds, and one tensor at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::Digest as _;

use super::ImportError;
use super::numbers::Kind;
use super::pickle::Pickle;
use super::torch::{self, View};
use super::zip::Archive;
use crate::ids::Digest;
use crate::model::weights::NamedTensor;

/// Bound of an archive's pickle.
const MAX_PICKLE: u64 = 64 << 20;
/// Bound of one storage. The largest published one has 38 MB.
const MAX_STORAGE: u64 = 2 << 30;
/// Bound of the header of a safetensors file, as in its own library.
const MAX_HEADER: u64 = 100_000_000;
/// The file is hashed in blocks of this size.
const BLOCK: usize = 1 << 20;

/// An open checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file's own name, without its folders.
    pub name: String,
    pub digest: Digest,
    /// Entries that are no tensors.
    pub others: Vec<String>,
    path: PathBuf,
    file: File,
    tensors: BTreeMap<String, View>,
    place: Place,
}

/// How the file stores numbers.
#[derive(Debug)]
enum Place {
    /// The archive, the folder in it, and the last storage read: parameters may share one.
    Torch { archive: Archive, root: String, last: Option<(String, Vec<f32>)> },
    /// Where the numbers begin; the key of a view is where its own do, in bytes.
    Safetensors { start: u64 },
}

/// One entry of a safetensors header.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Checkpoint {
    /// Opens a file and reads its table of contents. No code in it is run.
    pub fn open(path: &Path) -> Result<Checkpoint, ImportError> {
        let io = |error| ImportError::Io { path: path.to_path_buf(), error };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() {
            let fault = "it is no file".to_owned();
            return Err(ImportError::Content { file: name, fault });
        }
        let digest = hash(&mut file).map_err(io)?;
        let mut magic = [0; 4];
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let zipped = file.read_exact(&mut magic).is_ok() && magic == *b"PK\x03\x04";
        let read = match zipped {
            true => open_torch(&mut file, meta.len()),
            false => open_safetensors(&mut file, meta.len()),
        };
        let (tensors, others, place) =
            read.map_err(|fault| ImportError::Content { file: name.clone(), fault })?;
        Ok(Checkpoint { name, digest, others, path: path.to_path_buf(), file, tensors, place })
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|view| view.shape.as_slice())
    }

    /// Reads a tensor. The caller has looked at its shape.
    pub fn read(&mut self, name: &str) -> Result<NamedTensor, ImportError> {
        let view = self.view(name)?;
        let beyond = || format!("its tensor {name} reaches beyond its storage");
        let values = match &mut self.place {
            Place::Torch { archive, root, last } => {
                if last.as_ref().is_none_or(|(key, _)| *key != view.key) {
                    let member = format!("{root}/data/{}", view.key);
                    let bytes = archive.read(&mut self.file, &member, MAX_STORAGE);
                    let bytes = bytes
                        .map_err(|fault| ImportError::Content { file: self.name.clone(), fault })?;
                    *last = Some((view.key.clone(), view.kind.decode(&bytes)));
                }
                let storage = last.as_ref().map_or(&[][..], |(_, values)| values.as_slice());
                view.gather(storage)
            }
            Place::Safetensors { start } => {
                let start = *start;
                Some(view.kind.decode(&self.bytes(start, &view)?))
            }
        };
        let values = values.ok_or_else(|| self.fault(beyond()))?;
        Ok(NamedTensor { shape: view.shape, values })
    }

    /// Reads a tensor of f64 from a safetensors file, unrounded.
    pub fn read_f64(&mut self, name: &str) -> Result<Vec<f64>, ImportError> {
        let view = self.view(name)?;
        let (Place::Safetensors { start }, Kind::F64) = (&self.place, view.kind) else {
            return Err(self.fault(format!("its {name} is not of f64 in a safetensors file")));
        };
        let bytes = self.bytes(*start, &view)?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
    }

    fn view(&self, name: &str) -> Result<View, ImportError> {
        let view = self.tensors.get(name);
        let view = view.ok_or_else(|| self.fault(format!("it has no tensor {name}")))?;
        if view.kind == Kind::Other {
            let fault = format!("its tensor {name} is not of f32, f16, bf16 or f64");
            return Err(self.fault(fault));
        }
        Ok(view.clone())
    }

    /// The bytes of a tensor of a safetensors file whose numbers begin at `start`.
    fn bytes(&mut self, start: u64, view: &View) -> Result<Vec<u8>, ImportError> {
        let length = view.count().zip(view.kind.width()).and_then(|(n, w)| n.checked_mul(w));
        let Some(length) = length.filter(|length| *length <= MAX_STORAGE) else {
            return Err(self.fault(format!("a tensor has more than {MAX_STORAGE} bytes")));
        };
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        let sought = self.file.seek(SeekFrom::Start(start + view.offset));
        let read = sought.and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|error| ImportError::Io { path: self.path.clone(), error })?;
        Ok(bytes)
    }

    fn fault(&self, fault: String) -> ImportError {
        ImportError::Content { file: self.name.clone(), fault }
    }
}

fn hash(file: &mut File) -> std::io::Result<Digest> {
    let mut hasher = sha2::Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        let n = file.read(&mut block)?;
        if n == 0 {
            return Ok(Digest(hasher.finalize().into()));
        }
        hasher.update(block.get(..n).unwrap_or_default());
    }
}

type Read3 = (BTreeMap<String, View>, Vec<String>, Place);

fn open_torch(file: &mut File, length: u64) -> Result<Read3, String> {
    let archive = Archive::open(file, length)?;
    let mut roots = archive.members.keys().filter_map(|name| name.strip_suffix("/data.pkl"));
    let (Some(root), None) = (roots.next(), roots.next()) else {
        return Err("it is an archive, but not one of torch.save".to_owned());
    };
    let root = root.to_owned();
    let order = format!("{root}/byteorder");
    if archive.members.contains_key(&order) && archive.read(file, &order, 16)? != b"little" {
        return Err("its numbers are big-endian".to_owned());
    }
    let bytes = archive.read(file, &format!("{root}/data.pkl"), MAX_PICKLE)?;
    let torch::Contents { tensors, others } = torch::contents(&Pickle::read(&bytes)?)?;
    Ok((tensors, others, Place::Torch { archive, root, last: None }))
}

fn open_safetensors(file: &mut File, length: u64) -> Result<Read3, String> {
    let foreign = || "it is neither a torch.save archive nor a safetensors file".to_owned();
    let mut size = [0; 8];
    file.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
    file.read_exact(&mut size).map_err(|_| foreign())?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER || size.saturating_add(8) > length {
        return Err(foreign());
    }
    let mut header = vec![0; usize::try_from(size).map_err(|_| foreign())?];
    file.read_exact(&mut header).map_err(|e| e.to_string())?;
    let header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|_| foreign())?;
    let start = size + 8;
    let mut tensors = BTreeMap::new();
    for (name, entry) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let entry: Entry =
            serde_json::from_value(entry).map_err(|e| format!("its entry {name}: {e}"))?;
        let (from, to) = entry.data_offsets;
        let kind = Kind::of_safetensors(&entry.dtype);
        let view = View {
            kind,
            key: String::new(),
            offset: from,
            strides: Vec::new(),
            shape: entry.shape,
        };
        let wanted = kind.width().map(|width| view.count()?.checked_mul(width));
        let inside = from <= to && start.checked_add(to).is_some_and(|end| end <= length);
        if !inside || wanted.is_some_and(|wanted| wanted != Some(to - from)) {
            return Err(format!("its tensor {name} reaches beyond the file or into another"));
        }
        tensors.insert(name, view);
    }
    Ok((tensors, Vec::new(), Place::Safetensors { start }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise() -> Vec<u8> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read(root.join("tests/peers/fixtures/tiny_noise.pt")).expect("a fixture")
    }

    /// What can be read of x_T in a file of these bytes.
    fn x_t(bytes: &[u8]) -> Result<NamedTensor, ImportError> {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("noise.pt");
        std::fs::write(&path, bytes).expect("written");
        Checkpoint::open(&path)?.read("x_T")
    }

    #[test]
    fn every_changed_byte_of_an_archive_is_seen_or_harmless() {
        let good = noise();
        let want = x_t(&good).expect("a tensor");
        assert_eq!(want.shape, [1, 2, 8, 8]);
        for at in 0..good.len() {
            for value in [0xff, good[at] ^ 0x01] {
                let mut wrong = good.clone();
                wrong[at] = value;
                if let Ok(read) = x_t(&wrong) {
                    assert_eq!(read, want, "byte {at} as {value} changed the tensor unseen");
                }
            }
        }
    }

    #[test]
    fn every_cut_of_an_archive_is_refused() {
        let good = noise();
        for cut in 0..good.len() {
            assert!(x_t(&good[..cut]).is_err(), "cut at {cut}");
        }
    }
}

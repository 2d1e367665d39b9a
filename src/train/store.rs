//! Samples on disk.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `NOWCXRS1` |
//! | 32 | the key: a digest of the data and of the settings that the samples were made from |
//! | frames | split (1), length of head (4), length of body (4), CRC-32 (4), head, body |
//!
//! The split is 0 for training, 1 for validation, 2 for test; the CRC covers all else of its frame.
//! Numbers are little-endian. The head is a [`Head`] in postcard. The body of a film is its 224 ×
//! 224 grey pixels; that of a pair or window its series, each as a count (u32) and so many f64,
//! together deflated. The last frame's head is [`Head::End`], with how many frames came before: a
//! file that was cut short is noticed. A file is written beside its place and renamed when it is
//! whole.
//!
//! Opening reads the file once, frame by frame, checks every CRC and keeps the heads. Bodies are
//! read again when they are asked for, and the newest are kept, within [`KEPT_BYTES`].

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use lru::LruCache;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::sample::{FilmSample, PairSample, Samples, Series, Splits, WindowFilm, WindowSample};
use crate::event::PreparedFilm;
use crate::event::risk::N_PHENOTYPES;
use crate::ids::Digest;
use crate::model::config::N_FINDINGS;

const MAGIC: &[u8; 8] = b"NOWCXRS1";
/// A longer frame is damage: a film has 50 KB, two series of 70 hours 90 KB before deflation.
const FRAME_MAX: usize = 1 << 20;
/// Bytes that the series of one frame may have when inflated.
const INFLATED_MAX: u64 = 1 << 20;
/// Bodies kept in memory, in bytes.
pub const KEPT_BYTES: usize = 256 << 20;

/// What a frame is, without its body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Head {
    Film {
        /// Bit k is finding k.
        findings: u16,
    },
    /// Films are counted from 0 within their split.
    Pair { reference: u32, target: u32, gap_h: f64 },
    Window {
        stay: u64,
        t_h: f64,
        /// Its number and age in hours.
        film: Option<(u32, f64)>,
        died: bool,
        /// Bit k is phenotype k.
        phenotypes: u32,
    },
    End {
        frames: u64,
        /// Stays of training, validation and test.
        stays: [u64; 3],
    },
}

/// What a frame carries.
pub(super) enum Body<'a> {
    Film(&'a PreparedFilm),
    Series(&'a [&'a [f64]]),
}

/// Why a file cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Absent,
    /// It was made from other data or by other settings.
    Other,
    Damaged(String),
}

/// Where one body lies.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    file: Arc<SampleFile>,
    offset: u64,
}

/// An open file of samples.
#[derive(Debug)]
pub(super) struct SampleFile {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    kept: LruCache<u64, Loaded>,
    bytes: usize,
    most: usize,
}

#[derive(Clone, Debug)]
enum Loaded {
    Film(PreparedFilm),
    Series(Arc<[Arc<[f64]>]>),
}

/// A file that is being written.
pub(super) struct SampleWriter {
    path: PathBuf,
    part: PathBuf,
    out: BufWriter<File>,
    frames: u64,
}

impl SampleWriter {
    pub(super) fn create(path: &Path, key: Digest) -> Result<Self, TrainError> {
        let part = path.with_extension("part");
        let create = || -> std::io::Result<BufWriter<File>> {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            let mut out = BufWriter::new(File::create(&part)?);
            out.write_all(MAGIC)?;
            out.write_all(&key.0)?;
            Ok(out)
        };
        let out = create().map_err(|error| TrainError::write(&part, error))?;
        Ok(SampleWriter { path: path.to_owned(), part, out, frames: 0 })
    }

    pub(super) fn put(
        &mut self,
        split: usize,
        head: &Head,
        body: Body<'_>,
    ) -> Result<(), TrainError> {
        let unfit = |error: &dyn std::fmt::Display| TrainError::Data(error.to_string());
        let head = postcard::to_allocvec(head).map_err(|error| unfit(&error))?;
        let body = match body {
            Body::Film(film) => film.pixels().to_vec(),
            Body::Series(series) => deflated(series).map_err(|error| unfit(&error))?,
        };
        self.write(split, &head, &body).map_err(|error| TrainError::write(&self.part, error))?;
        self.frames += 1;
        Ok(())
    }

    fn write(&mut self, split: usize, head: &[u8], body: &[u8]) -> std::io::Result<()> {
        let mut front = vec![split as u8];
        front.extend((head.len() as u32).to_le_bytes());
        front.extend((body.len() as u32).to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        [front.as_slice(), head, body].into_iter().for_each(|part| crc.update(part));
        self.out.write_all(&front)?;
        self.out.write_all(&crc.finalize().to_le_bytes())?;
        self.out.write_all(head)?;
        self.out.write_all(body)
    }

    /// Closes the file and puts it in its place.
    pub(super) fn finish(mut self, stays: [u64; 3]) -> Result<(), TrainError> {
        let head = Head::End { frames: self.frames, stays };
        self.put(0, &head, Body::Series(&[]))?;
        let SampleWriter { path, part, out, .. } = self;
        let close = || -> std::io::Result<()> {
            out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
            std::fs::rename(&part, &path)
        };
        close().map_err(|error| TrainError::write(&part, error))
    }
}

fn deflated(series: &[&[f64]]) -> std::io::Result<Vec<u8>> {
    let mut out = DeflateEncoder::new(Vec::new(), Compression::fast());
    for values in series {
        out.write_all(&(values.len() as u32).to_le_bytes())?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        out.write_all(&bytes)?;
    }
    out.finish()
}

fn inflated(body: &[u8]) -> Option<Arc<[Arc<[f64]>]>> {
    let mut bytes = Vec::new();
    DeflateDecoder::new(body).take(INFLATED_MAX).read_to_end(&mut bytes).ok()?;
    let (mut all, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some((count, tail)) = rest.split_first_chunk::<4>() {
        let values = tail.get(..8 * usize::try_from(u32::from_le_bytes(*count)).ok()?)?;
        all.push(
            values.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
        );
        rest = tail.get(values.len()..)?;
    }
    rest.is_empty().then(|| all.into())
}

/// One frame as it stands in the file.
struct Frame {
    split: usize,
    head: Head,
    body: Vec<u8>,
}

/// Reads the next frame; `Err` says what is wrong with it.
fn read_frame(from: &mut impl Read) -> Result<Frame, String> {
    let mut front = [0; 13];
    let cut = |error: std::io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => "it ends in the middle".to_owned(),
        _ => error.to_string(),
    };
    from.read_exact(&mut front).map_err(cut)?;
    let number = |at: usize| {
        let bytes = front.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes) as usize
    };
    let (head, body) = (number(1), number(5));
    if head + body > FRAME_MAX {
        return Err("a frame claims to be longer than any is".to_owned());
    }
    let mut bytes = vec![0; head + body];
    from.read_exact(&mut bytes).map_err(cut)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&front[..9]);
    crc.update(&bytes);
    if crc.finalize() as usize != number(9) {
        return Err("a frame's checksum is wrong".to_owned());
    }
    let body = bytes.split_off(head);
    let head = postcard::from_bytes(&bytes).map_err(|error| error.to_string())?;
    Ok(Frame { split: usize::from(front[0]), head, body })
}

impl SampleFile {
    /// Opens and checks the file at `path` and gives its samples.
    pub(super) fn open(path: &Path, key: Digest) -> Result<Splits, Refusal> {
        SampleFile::open_with(path, key, KEPT_BYTES)
    }

    fn open_with(path: &Path, key: Digest, most: usize) -> Result<Splits, Refusal> {
        let damaged = |error: std::io::Error| Refusal::Damaged(error.to_string());
        let file = File::open(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Refusal::Absent,
            _ => damaged(error),
        })?;
        let mut reader = BufReader::new(file.try_clone().map_err(damaged)?);
        let mut front = [0; 40];
        reader.read_exact(&mut front).map_err(damaged)?;
        if &front[..8] != MAGIC {
            return Err(Refusal::Damaged("it is no file of samples".to_owned()));
        }
        if front[8..] != key.0 {
            return Err(Refusal::Other);
        }
        let inner = Inner { file, kept: LruCache::unbounded(), bytes: 0, most };
        let stored = Arc::new(SampleFile { path: path.to_owned(), inner: Mutex::new(inner) });
        index(&stored, &mut reader).map_err(Refusal::Damaged)
    }

    fn load(&self, offset: u64) -> Result<Loaded, TrainError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = inner.kept.get(&offset) {
            return Ok(loaded.clone());
        }
        let loaded = inner.read(offset).map_err(|fault| TrainError::Samples {
            path: self.path.display().to_string(),
            fault,
        })?;
        inner.keep(offset, loaded.clone());
        Ok(loaded)
    }

    fn lost(&self) -> TrainError {
        let fault = "a frame holds something else than before".to_owned();
        TrainError::Samples { path: self.path.display().to_string(), fault }
    }
}

impl Inner {
    fn read(&mut self, offset: u64) -> Result<Loaded, String> {
        self.file.seek(SeekFrom::Start(offset)).map_err(|error| error.to_string())?;
        let frame = read_frame(&mut BufReader::new(&self.file))?;
        let loaded = match frame.head {
            Head::Film { .. } => PreparedFilm::new(frame.body).map(Loaded::Film),
            _ => inflated(&frame.body).map(Loaded::Series),
        };
        loaded.ok_or_else(|| "a frame's body is not what its head says".to_owned())
    }

    fn keep(&mut self, offset: u64, loaded: Loaded) {
        self.bytes += loaded.bytes();
        if let Some((_, before)) = self.kept.push(offset, loaded) {
            self.bytes -= before.bytes();
        }
        while self.bytes > self.most
            && let Some((_, out)) = self.kept.pop_lru()
        {
            self.bytes -= out.bytes();
        }
    }
}

impl Loaded {
    fn bytes(&self) -> usize {
        match self {
            Loaded::Film(film) => film.pixels().len(),
            Loaded::Series(all) => all.iter().map(|values| values.len() * size_of::<f64>()).sum(),
        }
    }
}

impl Stored {
    pub(super) fn film(&self) -> Result<PreparedFilm, TrainError> {
        match self.file.load(self.offset)? {
            Loaded::Film(film) => Ok(film),
            Loaded::Series(_) => Err(self.file.lost()),
        }
    }

    pub(super) fn series(&self, which: usize) -> Result<Arc<[f64]>, TrainError> {
        match self.file.load(self.offset)? {
            Loaded::Series(all) => all.get(which).cloned().ok_or_else(|| self.file.lost()),
            Loaded::Film(_) => Err(self.file.lost()),
        }
    }
}

/// Reads every frame once and puts the samples together.
fn index(file: &Arc<SampleFile>, reader: &mut BufReader<File>) -> Result<Splits, String> {
    let mut splits = [Samples::default(), Samples::default(), Samples::default()];
    let mut frames = 0;
    loop {
        let offset = reader.stream_position().map_err(|error| error.to_string())?;
        let frame = read_frame(reader)?;
        let stored = Stored { file: Arc::clone(file), offset };
        if let Head::End { frames: said, stays } = frame.head {
            if said != frames {
                return Err(format!("it has {frames} frames, its end says {said}"));
            }
            splits.iter_mut().zip(stays).for_each(|(samples, stays)| samples.stays = stays);
            let [train, validate, test] = splits;
            return Ok(Splits { train, validate, test });
        }
        let samples = splits.get_mut(frame.split).ok_or("a frame names no split")?;
        add(samples, frame.head, stored).ok_or("a sample names a film that is not there")?;
        frames += 1;
    }
}

fn add(samples: &mut Samples, head: Head, stored: Stored) -> Option<()> {
    let known = |film: u32| Some(film as usize).filter(|&film| film < samples.films.len());
    match head {
        Head::Film { findings } => {
            let bits: [f32; N_FINDINGS] =
                std::array::from_fn(|k| f32::from(u8::from(findings >> k & 1 == 1)));
            samples.films.push(FilmSample::stored(stored, bits));
        }
        Head::Pair { reference, target, gap_h } => samples.pairs.push(PairSample {
            reference: known(reference)?,
            target: known(target)?,
            ehr: Series::stored(stored, 0),
            gap_h,
        }),
        Head::Window { stay, t_h, film, died, phenotypes } => {
            let film = match film {
                None => None,
                Some((film, age_h)) => {
                    let ehr = Series::stored(stored.clone(), 1);
                    Some(WindowFilm { film: known(film)?, age_h, ehr })
                }
            };
            let phenotypes: [bool; N_PHENOTYPES] =
                std::array::from_fn(|k| phenotypes >> k & 1 == 1);
            let ehr = Series::stored(stored, 0);
            samples.windows.push(WindowSample { stay, t_h, film, ehr, died, phenotypes });
        }
        Head::End { .. } => return None,
    }
    Some(())
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;

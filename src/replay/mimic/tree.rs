//! Where MIMIC's files lie, and layouts that we refuse with advice.

use std::path::{Path, PathBuf};

use super::table::find;
use crate::replay::error::ReplayError;
use crate::replay::item::{FilmTaken, MimicTable};

/// Names of MIMIC-CXR's metadata table, which did not change with version 2.1.
const CXR_METADATA: &str = "mimic-cxr-2.0.0-metadata";

/// The two data sets on disk, looked at once before anything is read.
#[derive(Clone, Debug)]
pub struct Tree {
    pub iv: PathBuf,
    pub cxr: Option<PathBuf>,
    pub has_transfers: bool,
}

impl Tree {
    /// Checks that the tables are there and of a version that can be replayed.
    pub fn open(iv: &Path, cxr: Option<&Path>) -> Result<Self, ReplayError> {
        readable(iv)?;
        refuse_version_1(iv)?;
        refuse_version_3_0(iv)?;
        let tables = ["hosp/patients", "hosp/admissions", "hosp/labevents"];
        for table in tables.into_iter().chain(["icu/icustays", "icu/chartevents"]) {
            find(iv, table)?;
        }
        if let Some(cxr) = cxr {
            readable(cxr)?;
            find(cxr, CXR_METADATA)?;
        }
        let has_transfers = find(iv, "hosp/transfers").is_ok();
        Ok(Tree { iv: iv.to_owned(), cxr: cxr.map(Path::to_owned), has_transfers })
    }

    /// Root and name of a table; `None` for a table that this tree does not have.
    pub fn place(&self, table: MimicTable) -> Option<(&Path, &'static str)> {
        match table {
            MimicTable::CxrMetadata => self.cxr.as_deref().map(|cxr| (cxr, CXR_METADATA)),
            MimicTable::Transfers if !self.has_transfers => None,
            other => Some((&self.iv, other.name())),
        }
    }

    /// Length of a table's file in bytes.
    pub fn length(&self, table: MimicTable) -> Option<u64> {
        let (dir, name) = self.place(table)?;
        let path = find(dir, name).ok()?;
        std::fs::metadata(path).ok().map(|meta| meta.len())
    }

    /// The film's file: JPEG as in MIMIC-CXR-JPG or DICOM as in MIMIC-CXR, whichever is there.
    pub fn film(&self, film: &FilmTaken) -> Option<PathBuf> {
        let subject = film.subject.to_string();
        let group = format!("p{}", subject.get(..2).unwrap_or(&subject));
        let study = format!("s{}", film.study);
        let dir = self.cxr.as_ref()?.join("files").join(group).join(format!("p{subject}"));
        let stem = dir.join(study).join(&film.dicom);
        ["jpg", "dcm"]
            .into_iter()
            .map(|ext| PathBuf::from(format!("{}.{ext}", stem.display())))
            .find(|path| path.is_file())
    }
}

fn readable(dir: &Path) -> Result<(), ReplayError> {
    std::fs::read_dir(dir).map(|_| ()).map_err(|error| {
        let advice = "name the directory that holds the unpacked data set, and allow reading it";
        ReplayError::layout(dir, format!("{error}; {advice}"))
    })
}

fn refuse_version_1(iv: &Path) -> Result<(), ReplayError> {
    if iv.join("core").is_dir() {
        let problem = "this is the layout of MIMIC-IV 1.0, with patients and admissions in core/; \
                       use version 2.2 or 3.1";
        return Err(ReplayError::layout(iv, problem));
    }
    Ok(())
}

/// Nothing inside version 3.0 names it, but the directory that `wget -r` makes does.
fn refuse_version_3_0(iv: &Path) -> Result<(), ReplayError> {
    let full = std::fs::canonicalize(iv).unwrap_or_else(|_| iv.to_owned());
    let name = full.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let names_mimic = name.starts_with("mimic") || full.to_string_lossy().contains("mimic");
    if name == "3.0" && names_mimic || name.starts_with("mimic") && name.ends_with("-3.0") {
        let problem = "MIMIC-IV 3.0 has wrong item ids in labevents, which 3.1 took back; use 3.1";
        return Err(ReplayError::layout(iv, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::create_dir_all;

    #[test]
    fn version_1_and_3_0_are_refused_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        create_dir_all(dir.path().join("core")).unwrap();
        let error = Tree::open(dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("MIMIC-IV 1.0") && error.contains("3.1"), "{error}");
        let v3 = dir.path().join("mimiciv/3.0");
        create_dir_all(&v3).unwrap();
        let error = Tree::open(&v3, None).unwrap_err().to_string();
        assert!(error.contains("3.0 has wrong item ids"), "{error}");
    }

    #[test]
    fn a_missing_directory_or_table_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Tree::open(&dir.path().join("nope"), None).unwrap_err().to_string();
        assert!(error.contains("nope") && error.contains("name the directory"), "{error}");
        let error = Tree::open(dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("holds neither hosp/patients.csv nor"), "{error}");
    }
}

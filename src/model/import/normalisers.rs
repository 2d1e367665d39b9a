//! The scalings of the EHR grid that an imported model works with. They stand in no checkpoint:
//! the reference keeps them in files of their own.

use std::collections::BTreeMap;
use std::path::Path;

use super::ImportError;
use super::checkpoint::Checkpoint;
use super::numbers::settled;
use crate::event::dictionary::GRID_COLUMNS;
use crate::model::artifact::Normalisers;
use crate::series::{NORMALISED_COLUMNS, Normaliser};

/// Bound of a file of normalisers.
const MAX_BYTES: u64 = 1 << 20;
/// The columns that are scaled.
const N: usize = NORMALISED_COLUMNS.len();

/// The published statistics (`reference/ddl-cxr.md` 1.8), in the order of the scaled columns:
/// diastolic pressure, FiO2, glucose, heart rate, height, mean pressure, saturation, respiratory
/// rate, systolic pressure, temperature, weight, pH, age.
const LDM_MEAN: [f64; N] = [
    61.106593596756845,
    0.4330322906155444,
    142.23495193584398,
    88.8126452989182,
    169.51410342202627,
    76.20040208366619,
    96.8473106201431,
    20.45779227963964,
    116.28441867155158,
    36.99640491027444,
    81.29137234102723,
    7.270832757979703,
    63.24685325827181,
];
const LDM_STD: [f64; N] = [
    13.639511955860195,
    0.202784188130898,
    50.56181378516339,
    18.757293278730703,
    5.809025662734473,
    13.935473116037658,
    3.192702948150863,
    5.967801265543411,
    20.19589921014837,
    0.6037898464709884,
    19.13729661903528,
    0.3825116425530125,
    16.603228691558183,
];
const PREDICTION_MEAN: [f64; N] = [
    61.97279082393369,
    0.3861778814987775,
    139.95103344191656,
    87.00061000907536,
    169.98006207053027,
    76.94957498703559,
    96.79421909438636,
    19.822367269544976,
    118.4327439076062,
    36.93422792687671,
    81.93962081940867,
    7.246669057111269,
    63.87332263710618,
];
const PREDICTION_STD: [f64; N] = [
    14.33591052097317,
    0.19333329921662815,
    50.468314199316104,
    18.439547067176722,
    1.0582394315281403,
    14.477306435883072,
    3.0427844852861843,
    5.712975179804652,
    20.833527173189033,
    0.5454347834053951,
    20.228037621586175,
    0.4288509436034823,
    16.526776599649356,
];

/// The published normalisers.
pub fn published() -> Result<Normalisers, ImportError> {
    let make = |mean: &[f64; N], std: &[f64; N]| {
        let mut columns = ([0.0; GRID_COLUMNS], [1.0; GRID_COLUMNS]);
        for (n, &column) in NORMALISED_COLUMNS.iter().enumerate() {
            (columns.0[column], columns.1[column]) = (mean[n], std[n]);
        }
        normaliser(&columns.0, &columns.1)
    };
    Ok(Normalisers {
        ldm: make(&LDM_MEAN, &LDM_STD)?,
        prediction: make(&PREDICTION_MEAN, &PREDICTION_STD)?,
    })
}

/// Normalisers from a file: `normalisers.json` of a model directory, or a safetensors file with
/// `normaliser.ldm.mean`, `.std` and the same of `prediction`, 79 numbers each.
pub fn read(path: &Path) -> Result<Normalisers, ImportError> {
    let io = |error| ImportError::Io { path: path.to_path_buf(), error };
    if path.extension().is_some_and(|end| end == "json") {
        if std::fs::metadata(path).map_err(io)?.len() > MAX_BYTES {
            return Err(ImportError::Normalisers(format!("it has more than {MAX_BYTES} bytes")));
        }
        let bytes = std::fs::read(path).map_err(io)?;
        let read: Normalisers = serde_json::from_slice(&bytes)
            .map_err(|error| ImportError::Normalisers(error.to_string()))?;
        let make = |read: &Normaliser| normaliser(read.mean(), read.std());
        return Ok(Normalisers { ldm: make(&read.ldm)?, prediction: make(&read.prediction)? });
    }
    let mut file = Checkpoint::open(path)?;
    let mut column = |part: &str| -> Result<Vec<f64>, ImportError> {
        file.read_f64(&format!("normaliser.{part}"))
    };
    let mut columns = BTreeMap::new();
    for part in ["ldm.mean", "ldm.std", "prediction.mean", "prediction.std"] {
        columns.insert(part, column(part)?);
    }
    let of = |part: &str| columns.get(part).map_or(&[][..], Vec::as_slice);
    let make = |mean: &str, std: &str| normaliser(of(mean), of(std));
    Ok(Normalisers {
        ldm: make("ldm.mean", "ldm.std")?,
        prediction: make("prediction.mean", "prediction.std")?,
    })
}

/// A normaliser of settled numbers.
fn normaliser(mean: &[f64], std: &[f64]) -> Result<Normaliser, ImportError> {
    let settle = |column: &[f64]| -> Vec<f64> { column.iter().map(|&x| settled(x)).collect() };
    Normaliser::new(&settle(mean), &settle(std))
        .map_err(|error| ImportError::Normalisers(error.to_string()))
}

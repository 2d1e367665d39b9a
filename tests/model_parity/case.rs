//! One file of the reference's numbers.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use nowcxr::model::weights::{Tensors, read_safetensors, under, with_tensors};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;

/// Bound of max|a-b| / max|b| of a network's output.
pub const TOLERANCE: f64 = 1e-5;
/// The same for tables computed on the host, and for losses of the file's own network outputs.
pub const TABLE_TOLERANCE: f64 = 1e-6;

/// Where the reference files are; none if they are not there.
pub fn directory() -> Option<PathBuf> {
    let shared = || std::env::var_os("NOWCXR_SHARED").map(|dir| PathBuf::from(dir).join("parity"));
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/parity");
    let named = std::env::var_os("NOWCXR_PARITY_DIR").map(PathBuf::from);
    let dir = named.or_else(shared).unwrap_or_else(beside);
    dir.is_dir().then_some(dir)
}

/// One parity file.
pub struct Case {
    name: String,
    bytes: Vec<u8>,
    pub tensors: Tensors,
    pub device: Device,
}

impl Case {
    /// `None`, with a line that says so, where the parity files are not there.
    pub fn open(name: &str) -> Option<Case> {
        let Some(dir) = directory() else {
            println!("skipped: no parity files; set NOWCXR_PARITY_DIR to check {name}");
            return None;
        };
        let bytes = std::fs::read(dir.join(format!("{name}.safetensors"))).expect("parity file");
        let tensors = read_safetensors(&bytes, false).expect("tensors");
        Some(Case { name: name.to_owned(), bytes, tensors, device: Device::flex() })
    }

    /// The configuration in the file's metadata.
    pub fn config<C: DeserializeOwned>(&self) -> C {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).expect("header");
        let text = header.metadata().as_ref().expect("metadata")["config"].clone();
        serde_json::from_str(&text).expect("config")
    }

    /// A network with the file's weights.
    pub fn load<M: Module>(&self, module: M) -> M {
        with_tensors(module, &under(&self.tensors, "w.")).expect("weights fit")
    }

    /// A tensor of f32.
    pub fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let tensor = &self.tensors[name];
        let data = TensorData::new(tensor.values.clone(), tensor.shape.clone());
        Tensor::from_data(data, &self.device)
    }

    /// Integers and f64 as f64.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).expect("file");
        let view = file.tensor(name).expect("tensor");
        let data = view.data();
        match view.dtype() {
            Dtype::F64 => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            Dtype::I32 => {
                data.as_chunks::<4>().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect()
            }
            other => panic!("{name} is {other:?}"),
        }
    }

    /// Integers.
    pub fn steps(&self, name: &str) -> Vec<usize> {
        self.numbers(name).into_iter().map(|t| t as usize).collect()
    }

    /// `got` must be the file's tensor `name`, within [`TOLERANCE`].
    pub fn near<const D: usize>(&self, name: &str, got: Tensor<D>) {
        self.within(TOLERANCE, name, got);
    }

    /// `got` must be the file's tensor `name`, within a relative error.
    pub fn within<const D: usize>(&self, tolerance: f64, name: &str, got: Tensor<D>) {
        let got: Vec<f32> = got.into_data().try_to_vec().expect("f32");
        let want = &self.tensors[name].values;
        let got: Vec<f64> = got.into_iter().map(f64::from).collect();
        let want: Vec<f64> = want.iter().map(|&x| f64::from(x)).collect();
        self.compare(name, &got, &want, tolerance);
    }

    /// Fails unless max|a-b| / max|b| is at most `tolerance`.
    pub fn compare(&self, name: &str, got: &[f64], want: &[f64], tolerance: f64) {
        assert_eq!(got.len(), want.len(), "{} {name}", self.name);
        let off = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let scale = want.iter().map(|b| b.abs()).fold(0.0, f64::max);
        let error = if off == 0.0 { 0.0 } else { off / scale };
        println!("{} {name}: relative error {error:.2e}", self.name);
        assert!(error <= tolerance, "{} {name}: relative error {error:.2e}", self.name);
    }
}

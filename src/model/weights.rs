//! Networks to named tensors and back, in safetensors files, under the parameter names of the
//! reference's own state dictionaries (`checkpoint_names.json` beside the parity files). So a
//! published checkpoint needs no renaming, only the prefix of each network.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use thiserror::Error;

/// A tensor as it stands in a file: f32, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl NamedTensor {
    /// A matrix with rows and columns changed over; anything else unchanged.
    fn transposed(&self) -> NamedTensor {
        let &[rows, columns] = self.shape.as_slice() else { return self.clone() };
        let value = |i: usize| self.values.get(i % rows * columns + i / rows).copied();
        let values = (0..self.values.len()).filter_map(value).collect();
        NamedTensor { shape: vec![columns, rows], values }
    }
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, NamedTensor>;

/// Why weights cannot be used. Nothing here is repaired: another file is needed.
#[derive(Debug, Error)]
pub enum WeightsError {
    #[error("not a safetensors file ({0}); save the weights again")]
    Format(String),
    #[error("tensor {name} is {found}, not f32; convert the file to f32")]
    Dtype { name: String, found: String },
    #[error(
        "tensor {name} has shape {found:?}, the config asks for {wanted:?}; use the config that \
         the weights were made with"
    )]
    Shape { name: String, found: Vec<usize>, wanted: Vec<usize> },
    #[error(
        "the weights do not fit the config: missing {missing}; unused {unused}; use the config \
         that the weights were made with"
    )]
    Names { missing: String, unused: String },
    #[error("tensor {0} holds a number that is not finite; train again")]
    NotFinite(String),
}

/// Parts of our field names that the reference writes otherwise. Each is used in one place only.
const SEGMENTS: [(&str, &str); 18] = [
    ("in_norm", "in_layers.0"),
    ("in_conv", "in_layers.2"),
    ("emb_proj", "emb_layers.1"),
    ("block_norm", "out_layers.0"),
    ("block_conv", "out_layers.3"),
    ("time_in", "time_embed.0"),
    ("time_out", "time_embed.2"),
    ("out_norm", "out.0"),
    ("out_conv", "out.2"),
    ("attn_out", "to_out.0"),
    ("ff_in", "net.0.proj"),
    ("ff_out", "net.2"),
    ("findings_head", "label_head.0"),
    ("head_in", "mlp_head.0"),
    ("head_out", "mlp_head.2"),
    ("kernel", "weight"),
    ("in_proj_kernel", "in_proj_weight"),
    // The reference's own spelling.
    ("patch_embedding", "cxr_embdedding.projection.1"),
];

/// The path from the root of a network to the parameter being visited.
#[derive(Default)]
struct Path {
    names: Vec<String>,
    /// Whether the innermost field holds the transpose of what the file holds.
    transposed: bool,
}

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        // A variant of an enum is no part of a name.
        let variant = container.starts_with("Enum:");
        let renamed = SEGMENTS.iter().find(|(ours, _)| *ours == name).map(|(_, theirs)| *theirs);
        self.transposed = name.ends_with("kernel");
        self.names.push(if variant { "" } else { renamed.unwrap_or(name) }.to_owned());
    }

    fn exit(&mut self) {
        self.names.pop();
    }

    fn name(&self) -> String {
        let parts: Vec<&str> =
            self.names.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
        parts.join(".")
    }
}

/// All tensors of a network, running statistics included.
pub fn tensors_of<M: Module>(module: &M) -> Tensors {
    struct Collector {
        path: Path,
        tensors: Tensors,
    }

    impl ModuleVisitor for Collector {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.val().into_data();
            let shape = data.shape().to_vec();
            // Parameters are made as f32 and nothing here casts them.
            let values = data.convert::<f32>().try_into_vec().unwrap_or_default();
            let tensor = NamedTensor { shape, values };
            let tensor = if self.path.transposed { tensor.transposed() } else { tensor };
            self.tensors.insert(self.path.name(), tensor);
        }
    }

    let mut collector = Collector { path: Path::default(), tensors: Tensors::new() };
    // Leaving autodiff also settles running statistics that wait for their next update.
    module.valid().visit(&mut collector);
    collector.tensors
}

/// The shape of every tensor of a network, as its file has it; no tensor is read.
pub fn shapes_of<M: Module>(module: &M) -> BTreeMap<String, Vec<usize>> {
    #[derive(Default)]
    struct Shapes {
        path: Path,
        shapes: BTreeMap<String, Vec<usize>>,
    }

    impl ModuleVisitor for Shapes {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let mut shape = param.lazy_shape().to_vec();
            if self.path.transposed {
                shape.reverse();
            }
            self.shapes.insert(self.path.name(), shape);
        }
    }

    let mut shapes = Shapes::default();
    module.visit(&mut shapes);
    shapes.shapes
}

/// How many numbers a network has, running statistics and position tables not counted.
pub fn parameter_count<M: Module>(module: &M) -> usize {
    let counts = |name: &str| !name.contains("running_") && !name.ends_with("pos_enc.pe");
    let shapes = shapes_of(module);
    let counted = shapes.iter().filter(|(name, _)| counts(name));
    counted.map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

/// The network with its tensors replaced by those of `tensors`.
///
/// Every tensor of the network must be there, in its shape, and finite; a tensor that no part of
/// the network takes is an error, but for those that the reference saves and never uses (counters
/// of BatchNorm, class weights, T's inner head).
pub fn with_tensors<M: Module>(module: M, tensors: &Tensors) -> Result<M, WeightsError> {
    let mut loader = Loader {
        path: Path::default(),
        tensors,
        used: BTreeSet::new(),
        missing: Vec::new(),
        fault: None,
    };
    let module = module.map(&mut loader);
    if let Some(fault) = loader.fault {
        return Err(fault);
    }
    let unused: Vec<&str> = tensors
        .keys()
        .map(String::as_str)
        .filter(|name| !loader.used.contains(*name) && !never_used(name))
        .collect();
    if loader.missing.is_empty() && unused.is_empty() {
        return Ok(module);
    }
    let missing: Vec<&str> = loader.missing.iter().map(String::as_str).collect();
    Err(WeightsError::Names { missing: list(&missing), unused: list(&unused) })
}

fn never_used(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
        || name.ends_with("loss.pos_weight")
        || name.starts_with("mlp_head.")
        || name.contains(".mlp_head.")
}

/// The first names and how many more there are.
fn list(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    match names.len() {
        0 => "nothing".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

struct Loader<'a> {
    path: Path,
    tensors: &'a Tensors,
    used: BTreeSet<String>,
    missing: Vec<String>,
    fault: Option<WeightsError>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let Some(tensor) = self.tensors.get(&name) else {
            self.missing.push(name);
            return param;
        };
        let shape = param.lazy_shape().to_vec();
        let mut wanted = shape.clone();
        if self.path.transposed {
            wanted.reverse();
        }
        self.used.insert(name.clone());
        if tensor.shape != wanted {
            let found = tensor.shape.clone();
            self.fault.get_or_insert(WeightsError::Shape { name, found, wanted });
            return param;
        }
        if !tensor.values.iter().all(|value| value.is_finite()) {
            self.fault.get_or_insert(WeightsError::NotFinite(name));
            return param;
        }
        let device = param.lazy_device();
        let active = param.is_require_grad();
        let values = match self.path.transposed {
            true => tensor.transposed().values,
            false => tensor.values.clone(),
        };
        let data = TensorData::new(values, shape);
        param.map(|_| Tensor::from_data(data, &device).set_require_grad(active))
    }
}

/// Tensors of a safetensors file that are f32, and the file's own remarks. Tensors of other types
/// are left out unless `strict`, where they are an error.
pub fn read_safetensors(bytes: &[u8], strict: bool) -> Result<Tensors, WeightsError> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| WeightsError::Format(e.to_string()))?;
    let mut tensors = Tensors::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            if strict {
                let found = format!("{:?}", view.dtype());
                return Err(WeightsError::Dtype { name: name.to_owned(), found });
            }
            continue;
        }
        let values =
            view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        tensors.insert(name.to_owned(), NamedTensor { shape: view.shape().to_vec(), values });
    }
    Ok(tensors)
}

/// A safetensors file of these tensors; the same tensors always give the same bytes.
pub fn write_safetensors(tensors: &Tensors) -> Result<Vec<u8>, WeightsError> {
    let bytes: Vec<(&String, &NamedTensor, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let bytes = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, tensor, bytes)
        })
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, tensor, bytes) in &bytes {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)
            .map_err(|e| WeightsError::Format(e.to_string()))?;
        views.push((name.as_str(), view));
    }
    safetensors::tensor::serialize(views, None).map_err(|e| WeightsError::Format(e.to_string()))
}

/// The tensors whose names begin with `prefix`, without it.
pub fn under(tensors: &Tensors, prefix: &str) -> Tensors {
    tensors
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone())))
        .collect()
}

/// The tensors with `prefix` before each name.
pub fn prefixed(tensors: Tensors, prefix: &str) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::config::DdlCxrConfig;
    use super::super::ehr_encoder::EhrEncoder;
    use super::super::layers::Init;
    use super::*;

    fn encoder(seed: u64, device: &Device) -> EhrEncoder {
        EhrEncoder::new(&DdlCxrConfig::demo().ehr_encoder, &mut Init::seeded(seed, device))
    }

    #[test]
    fn a_network_survives_its_file_bit_for_bit() {
        let device = Device::flex();
        let saved = tensors_of(&encoder(1, &device));
        let bytes = write_safetensors(&saved).expect("bytes");
        assert_eq!(bytes, write_safetensors(&saved).expect("bytes"), "writing is deterministic");
        let read = read_safetensors(&bytes, true).expect("tensors");
        let loaded = with_tensors(encoder(2, &device), &read).expect("fits");
        assert_eq!(tensors_of(&loaded), saved);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let device = Device::flex();
        let saved = tensors_of(&encoder(1, &device));
        let mut wrong = saved.clone();
        wrong.remove("cls_token");
        wrong.insert("extra.weight".to_owned(), saved["cls_token"].clone());
        let error = with_tensors(encoder(2, &device), &wrong).expect_err("names").to_string();
        assert!(error.contains("missing cls_token") && error.contains("unused extra.weight"));
        let mut wrong = saved.clone();
        wrong.insert("cls_token".to_owned(), saved["project_inp.bias"].clone());
        let error = with_tensors(encoder(2, &device), &wrong).expect_err("shape").to_string();
        assert!(error.contains("cls_token has shape [64]"), "{error}");
        let mut wrong = saved;
        wrong.get_mut("project_inp.bias").expect("there").values[3] = f32::NAN;
        let error = with_tensors(encoder(2, &device), &wrong).expect_err("nan").to_string();
        assert!(error.contains("project_inp.bias"));
    }

    #[test]
    fn bytes_that_are_no_file_are_refused() {
        assert!(matches!(read_safetensors(b"garbage", true), Err(WeightsError::Format(_))));
    }
}

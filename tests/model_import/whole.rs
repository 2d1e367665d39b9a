//! The four checkpoints as one model.

use burn::tensor::Device;
use nowcxr::model::Init;
use nowcxr::model::artifact::{Artifact, Networks};
use nowcxr::model::import::{ImportError, Noise, import};
use nowcxr::model::weights::{NamedTensor, Tensors};
use nowcxr::model::weights::{shapes_of, tensors_of, write_safetensors};

use super::{ALL, config, fixture, request};

/// The names and shapes that `tests/peers/checkpoints.py` makes its files of.
#[test]
fn the_scripts_names_are_those_of_the_config() {
    let networks = Networks::new(&config(), &mut Init::zeros(&Device::flex()));
    let shapes = serde_json::to_string(&shapes_of(&networks)).expect("json") + "\n";
    let path = fixture("tiny_names.json");
    if std::env::var_os("NOWCXR_BLESS").is_some() {
        std::fs::write(&path, &shapes).expect("written");
    }
    assert_eq!(std::fs::read_to_string(&path).expect("names"), shapes, "set NOWCXR_BLESS");
}

/// Number `i` of the tensor `name` of a checkpoint, as the script computes it: 16 bits of a
/// product of the name's CRC, so exact in f32.
fn number(name: &str, i: usize) -> f32 {
    let mixed = crc32fast::hash(name.as_bytes()).wrapping_add(i as u32).wrapping_mul(2_654_435_761);
    (mixed >> 16) as f32 / 65_536.0 - 0.5
}

/// Where the script put a tensor of ours.
fn source(ours: &str) -> String {
    let prefixes = [
        ("vae.", "vae:"),
        ("unet.", "ema:model.diffusion_model."),
        ("ehr.label_head.", "label_head."),
        ("ehr.", "cond_stage_model."),
        ("fusion_mortality.", "mortality:"),
        ("fusion_phenotype.", "phenotype:"),
    ];
    let (from, to) = prefixes.iter().find(|(from, _)| ours.starts_with(from)).expect("a place");
    ours.replacen(from, to, 1)
}

#[test]
fn every_number_arrives_bit_for_bit() {
    let (model, report) = import(request(&ALL)).expect("imported");
    for (ours, tensor) in tensors_of(&model.networks) {
        let name = source(&ours);
        for (i, value) in tensor.values.iter().enumerate() {
            let want = match ours.ends_with("running_var") {
                true => number(&name, i) + 1.0,
                false => number(&name, i),
            };
            assert_eq!(value.to_bits(), want.to_bits(), "{ours} at {i}");
        }
    }
    assert_eq!(model.config.diffusion.scale_factor, 0.75);
    assert!(report.remarks.is_empty(), "{:?}", report.remarks);
    assert_eq!(report.digest, model.digest().to_string());
    let averages: Vec<usize> = report.sources.iter().map(|source| source.averages).collect();
    let unet = shapes_of(&model.networks.unet).len();
    assert_eq!(averages, [unet, 0, 0, 0]);
}

#[test]
fn the_directory_is_the_same_whenever_and_in_whatever_order_it_is_made() {
    let (first, _) = import(request(&ALL)).expect("imported");
    let mut turned = ALL;
    turned.reverse();
    let (second, _) = import(request(&turned)).expect("imported");
    assert_eq!(first.digest(), second.digest());
    let dir = tempfile::tempdir().expect("dir");
    first.save(dir.path()).expect("saved");
    let loaded = Artifact::load_on_cpu(dir.path()).expect("loaded");
    assert_eq!(tensors_of(&loaded.networks), tensors_of(&first.networks));
    assert_eq!((loaded.digest(), &loaded.noise), (first.digest(), &first.noise));
    assert_eq!(loaded.card, first.card);
}

#[test]
fn unused_tensors_are_named_and_reasons_given() {
    let (model, report) = import(request(&ALL)).expect("imported");
    let ldm = &report.sources[0];
    assert_eq!((ldm.file.as_str(), ldm.stage.as_str()), ("tiny_ldm.ckpt", "diffusion model"));
    for name in ["model_ema.decay", "betas", "cond_stage_model.mlp_head.0.weight"] {
        assert!(ldm.unused.iter().any(|unused| unused == name), "{name}: {:?}", ldm.unused);
    }
    assert!(!ldm.unused.iter().any(|name| name.starts_with("model.diffusion_model.")));
    for other in ["optimizer_states", "callbacks", "hyper_parameters"] {
        assert!(ldm.others.iter().any(|name| name == other), "{other}: {:?}", ldm.others);
    }
    let mortality = &report.sources[2];
    assert!(mortality.unused.iter().any(|name| name == "loss.pos_weight"));
    assert!(report.sources[1].unused.iter().any(|name| name == "loss.logvar"));
    for word in ["tiny_ldm.ckpt", "class weights", "seed 7", "0.75", "published statistics"] {
        assert!(model.card.contains(word), "{word} is not in\n{}", model.card);
    }
}

#[test]
fn the_diffusion_models_own_copy_of_the_autoencoder_will_do() {
    let (model, _) = import(request(&[ALL[0], ALL[2], ALL[3]])).expect("imported");
    let (whole, _) = import(request(&ALL)).expect("imported");
    assert_eq!(model.digest(), whole.digest());
}

#[test]
fn what_is_missing_or_does_not_fit_is_named() {
    let told = |files: &[&str]| import(request(files)).expect_err("an error").to_string();
    let missing = told(&[ALL[0], ALL[2]]);
    assert!(missing.contains("fusion model of phenotypes"), "{missing}");
    let twice = told(&[ALL[0], ALL[0]]);
    assert!(twice.contains("both of the diffusion model"), "{twice}");
    let foreign = told(&["tiny_noise.pt"]);
    assert!(foreign.contains("no checkpoint of"), "{foreign}");
    let mut wrong = request(&ALL);
    wrong.config.unet.context_dim = 8;
    wrong.config.ehr_encoder.d_model = 8;
    let shape = import(wrong).expect_err("an error").to_string();
    assert!(shape.contains("cls_token is [1, 1, 4] and not [1, 1, 8]"), "{shape}");
    let mut wrong = request(&ALL);
    wrong.config.unet.context_dim = 8;
    assert!(matches!(import(wrong), Err(ImportError::Config(_))));
}

#[test]
fn the_noise_comes_from_a_seed_or_a_file() {
    let (drawn, _) = import(request(&ALL)).expect("imported");
    let mut filed = request(&ALL);
    filed.noise = Noise::File(fixture("tiny_noise.pt"));
    let (filed, report) = import(filed).expect("imported");
    assert_ne!(drawn.noise, filed.noise);
    let want: Vec<f32> = (0..128).map(|i| number("x_T", i)).collect();
    assert_eq!(filed.noise, want);
    assert!(report.noise.contains("tiny_noise.pt"), "{}", report.noise);
    let mut wrong = request(&ALL);
    wrong.noise = Noise::File(fixture("tiny_phenotype.safetensors"));
    let error = import(wrong).expect_err("no noise").to_string();
    assert!(error.contains("x_T"), "{error}");
}

#[test]
fn another_autoencoder_than_the_diffusion_models_is_remarked() {
    let dir = tempfile::tempdir().expect("dir");
    let networks = Networks::new(&config(), &mut Init::seeded(3, &Device::flex()));
    let path = dir.path().join("other.safetensors");
    std::fs::write(&path, write_safetensors(&tensors_of(&networks.vae)).expect("bytes"))
        .expect("written");
    let mut other = request(&ALL);
    other.checkpoints[1] = path;
    let (model, report) = import(other).expect("imported");
    assert_eq!(tensors_of(&model.networks.vae), tensors_of(&networks.vae));
    assert!(report.remarks[0].contains("differ from the copy"), "{:?}", report.remarks);
}

/// A model directory's normalisers, as JSON and as the reference files write them.
#[test]
fn normalisers_come_from_a_file() {
    let (published, _) = import(request(&ALL)).expect("imported");
    let dir = tempfile::tempdir().expect("dir");
    published.save(dir.path()).expect("saved");
    let mut json = request(&ALL);
    json.normalisers = Some(dir.path().join("normalisers.json"));
    let (json, report) = import(json).expect("imported");
    assert_eq!(json.digest(), published.digest());
    assert_eq!(report.normalisers, "normalisers.json");
    let mut wrong = request(&ALL);
    wrong.normalisers = Some(fixture("tiny_config.json"));
    assert!(matches!(import(wrong), Err(ImportError::Normalisers(_))));
    let mut missing = request(&ALL);
    missing.normalisers = Some(dir.path().join("none.json"));
    assert!(matches!(import(missing), Err(ImportError::Io { .. })));
}

/// The published statistics are the reference's own, but for the digits behind the fifteenth.
#[test]
fn the_published_normalisers_are_the_reference_files() {
    let shared = std::env::var_os("NOWCXR_PARITY_DIR").map(std::path::PathBuf::from);
    let beside = || std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/parity");
    let path = shared.unwrap_or_else(beside).join("ehr_grid/ehr_grid.safetensors");
    if !path.exists() {
        println!("skipped: no parity files; set NOWCXR_PARITY_DIR to check the normalisers");
        return;
    }
    let (ours, theirs) = (
        nowcxr::model::import::normalisers::published().expect("sound"),
        nowcxr::model::import::normalisers::read(&path).expect("read"),
    );
    for column in nowcxr::series::NORMALISED_COLUMNS {
        for (ours, theirs) in [(&ours.ldm, &theirs.ldm), (&ours.prediction, &theirs.prediction)] {
            assert_eq!(ours.mean()[column].to_bits(), theirs.mean()[column].to_bits());
            assert_eq!(ours.std()[column].to_bits(), theirs.std()[column].to_bits());
        }
    }
}

/// Numbers of 16 bits are widened exactly; a safetensors file of them imports as well.
#[test]
fn checkpoints_of_half_precision_are_read() {
    let mut half = request(&ALL);
    half.checkpoints[3] = fixture("tiny_phenotype_bf16.pt");
    let (model, _) = import(half).expect("imported");
    let tensors: Tensors = tensors_of(&model.networks.fusion_phenotype);
    for (name, NamedTensor { values, .. }) in tensors {
        for (i, value) in values.into_iter().enumerate() {
            let add = if name.ends_with("running_var") { 1.0 } else { 0.0 };
            let want = number(&format!("phenotype:{name}"), i) + add;
            // bf16 keeps 8 bits.
            assert!((value - want).abs() <= want.abs() / 128.0, "{name} {value} {want}");
            assert_eq!(value.to_bits() & 0xffff, 0, "{name} is not a bf16 number");
        }
    }
}

//! The published sizes, by construction: names, shapes, counts, and one pass through each network.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use nowcxr::model::config::{DdlCxrConfig, Task};
use nowcxr::model::weights::{parameter_count, shapes_of};
use nowcxr::model::{EhrEncoder, Fusion, Init, Unet, Vae};

use crate::case::directory;

type Shapes = BTreeMap<String, Vec<usize>>;

/// Tensors of a checkpoint below `prefix`, by the name without it.
fn published(names: &serde_json::Value, checkpoint: &str, prefix: &str) -> Shapes {
    let all = names[checkpoint].as_object().expect("names");
    all.iter()
        .filter(|(name, _)| !never_used(name))
        .filter_map(|(name, shape)| {
            let shape = serde_json::from_value(shape.clone()).expect("a shape");
            Some((name.strip_prefix(prefix)?.to_owned(), shape))
        })
        .collect()
}

/// What the published code saves and never uses.
fn never_used(name: &str) -> bool {
    let head = name.contains(".mlp_head.");
    head || name.ends_with("num_batches_tracked") || name.ends_with("loss.pos_weight")
}

fn same<M: Module>(what: &str, net: &M, theirs: &Shapes) {
    let ours = shapes_of(net);
    let off: Vec<String> = ours
        .iter()
        .filter(|(name, shape)| theirs.get(*name) != Some(shape))
        .map(|(name, shape)| format!("ours {name} {shape:?}"))
        .chain(theirs.keys().filter(|name| !ours.contains_key(*name)).map(|n| format!("their {n}")))
        .collect();
    assert!(off.is_empty() && !ours.is_empty(), "{what}: {off:?}");
}

/// Weights of zero are never written to, so that the full size costs little memory.
fn empty() -> Init {
    Init::zeros(&Device::flex())
}

#[test]
fn our_names_and_shapes_are_those_of_the_checkpoints() {
    let Some(dir) = directory() else {
        println!("skipped: no parity files; set NOWCXR_PARITY_DIR to check names");
        return;
    };
    let text = std::fs::read_to_string(dir.join("checkpoint_names.json")).expect("names");
    let names: serde_json::Value = serde_json::from_str(&text).expect("json");
    let mut config = DdlCxrConfig::full();
    let vae = Vae::new(&config.vae, &mut empty());
    same("vae", &vae, &published(&names, "vae_checkpoint", ""));
    same("vae in ldm", &vae, &published(&names, "ldm_checkpoint", "first_stage_model."));
    let unet = published(&names, "ldm_checkpoint", "model.diffusion_model.");
    same("unet", &Unet::new(&config.unet, &mut empty()), &unet);
    // The LDM's label head stands beside its EHR encoder in the checkpoint, and inside ours.
    config.ehr_encoder.labels = None;
    let ehr = EhrEncoder::new(&config.ehr_encoder, &mut empty());
    same("ehr", &ehr, &published(&names, "ldm_checkpoint", "cond_stage_model."));
    let fusion = Fusion::new(&config.fusion_phenotype, &mut empty());
    same("fusion", &fusion, &published(&names, "fusion_checkpoint", ""));
}

/// `reference/ddl-cxr.md` 8.3.
#[test]
fn the_full_model_has_the_published_size() {
    let mut config = DdlCxrConfig::full();
    assert_eq!(parameter_count(&Unet::new(&config.unet, &mut empty())), 296_862_500);
    let vae = Vae::new(&config.vae, &mut empty());
    assert_eq!(parameter_count(&vae.encoder), 34_163_592);
    assert_eq!(parameter_count(&vae.decoder), 49_490_179);
    assert_eq!(vae.findings_head.as_ref().map(parameter_count), Some(43_918));
    let quant = parameter_count(&vae.quant_conv) + parameter_count(&vae.post_quant_conv);
    assert_eq!(quant, 92);
    config.ehr_encoder.labels = None;
    assert_eq!(parameter_count(&EhrEncoder::new(&config.ehr_encoder, &mut empty())), 142_848);
    let fusion = Fusion::new(&config.fusion_mortality, &mut empty());
    assert_eq!(parameter_count(&fusion.ehr_encoder), 1_357_056);
    assert_eq!(parameter_count(&fusion.cxr_transformer), 1_382_144);
    assert_eq!(parameter_count(&fusion.fusion_tf), 1_578_752);
    // torchvision's ResNet34 without its classifier.
    assert_eq!(fusion.vision_backbone.as_ref().map(parameter_count), Some(21_284_672));
}

/// A picture of the right shape and of finite, uneven numbers came out.
fn sound<const D: usize>(what: &str, out: Tensor<D>, dims: [usize; D]) {
    assert_eq!(out.dims(), dims, "{what}");
    let values: Vec<f32> = out.into_data().try_into_vec().expect("f32");
    let (least, most) = values.iter().fold((f32::MAX, f32::MIN), |(a, b), &x| (a.min(x), b.max(x)));
    println!("{what}: {least} to {most}");
    assert!(values.iter().all(|x| x.is_finite()) && least < most, "{what}: {least} to {most}");
}

/// One pass through each network of the published size, one network in memory at a time. Drawing
/// 400 million weights and 0.5 TFLOP take a minute, so only on demand.
#[test]
fn each_network_of_full_size_runs() {
    if std::env::var_os("NOWCXR_MEASURE").is_none() {
        println!("skipped: set NOWCXR_MEASURE to run every network of the published size");
        return;
    }
    let config = DdlCxrConfig::full();
    let device = Device::flex();
    let draw = |seed| Init::seeded(seed, &device);
    let picture = |channels: usize, side: usize| draw(9).normal([1, channels, side, side]).val();
    {
        let vae = Vae::new(&config.vae, &mut draw(1));
        let posterior = vae.encode(picture(3, 224));
        sound("vae mean", posterior.mean.clone(), [1, 4, 28, 28]);
        sound("vae log variance", posterior.logvar, [1, 4, 28, 28]);
        sound("reconstruction", vae.decode(posterior.mean.clone()), [1, 3, 224, 224]);
        sound("findings", vae.findings(posterior.mean).expect("a head"), [1, 14]);
    }
    let hours = draw(8).normal([1, 48, 79]).val();
    {
        let ehr = EhrEncoder::new(&config.ehr_encoder, &mut draw(2));
        let tokens = ehr.forward(hours.clone().narrow(1, 0, 39), None).tokens;
        sound("ehr tokens", tokens.clone(), [1, 40, 128]);
        let mut unet = Unet::new(&config.unet, &mut draw(3));
        // Drawn as the reference draws it, the last convolution is zero and hides the rest.
        unet.out_conv.weight = draw(4).uniform(0.02, [4, 224, 3, 3]);
        sound("noise", unet.forward(picture(8, 28), &[500], &tokens, None), [1, 4, 28, 28]);
    }
    for task in [Task::Mortality, Task::Phenotype] {
        let fusion = Fusion::new(config.fusion(task), &mut draw(5));
        let image_features = fusion.image_features(picture(3, 224)).expect("an image branch");
        sound("resnet", image_features.clone(), [1, 512]);
        let (ehr, latent) = (hours.clone(), picture(4, 28));
        let input = nowcxr::model::FusionInput {
            ehr,
            ehr_keep: None,
            latent,
            image_features,
            present: None,
        };
        let logits = fusion.forward(input);
        assert_eq!(logits.dims(), [1, task.outputs()]);
        assert!(logits.abs().sum().into_scalar::<f32>().is_finite());
    }
}

//! Every loss term of the reference files: from the file's own network outputs, and through our
//! networks from the inputs.

use burn::tensor::{Tensor, TensorData};
use nowcxr::model::losses::{Ldm, LdmTerms, ldm, vae, weighted_binary_cross_entropy};
use nowcxr::model::vae::Posterior;
use nowcxr::model::{FusionInput, Schedule};

use crate::case::{Case, TABLE_TOLERANCE, TOLERANCE};
use crate::networks::{fusion_model, reference_diffusion, unet};

/// Bound of a weighted cross-entropy taken through a network.
const ENTROPY_TOLERANCE: f64 = 1e-4;
/// The epoch of the file's total, on the published ramp of 200.
const EPOCH: f64 = 50.0;

/// Fails unless the terms from these two answers of a network are the file's.
fn ldm_terms(case: &Case, eps: Tensor<4>, perturbed: Tensor<4>, tolerance: f64) {
    let weights = Ldm::default();
    let noise: Tensor<4> = case.tensor("loss.noise");
    let t = case.steps("in.t");
    let one_minus = Schedule::new(&reference_diffusion(10, 0.0)).contrastive_weight(&t);
    let (target, margin) = (noise.clone(), weights.margin);
    let hinge = ldm::hinge(target.clone(), eps.clone(), perturbed.clone(), margin);
    case.within(tolerance, "loss.contrastive_unweighted", hinge.mean());
    let terms = LdmTerms {
        denoising: ldm::denoising(target.clone(), eps.clone()),
        contrastive: ldm::contrastive(target, eps, perturbed, one_minus, margin),
        auxiliary: Some(ldm::auxiliary(
            case.tensor("loss.label_logits"),
            case.tensor("loss.labels"),
        )),
    };
    case.within(tolerance, "loss.denoise", terms.denoising.clone());
    case.within(tolerance, "loss.contrastive", terms.contrastive.clone());
    case.within(tolerance, "loss.total_epoch50_of_200", weights.total(&terms, EPOCH));
}

#[test]
fn the_terms_of_the_diffusion_from_the_files_own_answers() {
    let Some(case) = Case::open("unet") else { return };
    let (eps, perturbed) = (case.tensor("loss.eps"), case.tensor("loss.eps_perturbed"));
    ldm_terms(&case, eps, perturbed, TABLE_TOLERANCE);
    let findings = ldm::auxiliary(case.tensor("loss.label_logits"), case.tensor("loss.labels"));
    case.within(TABLE_TOLERANCE, "loss.auxiliary", findings);
    let schedule = Schedule::new(&reference_diffusion(10, 0.0));
    let t = case.steps("in.t");
    let noisy = schedule.q_sample(case.tensor("loss.z1"), &t, case.tensor("loss.noise"));
    case.within(TABLE_TOLERANCE, "loss.x_noisy", noisy);
}

#[test]
fn the_terms_of_the_diffusion_through_the_network() {
    let Some(case) = Case::open("unet") else { return };
    let net = unet(&case);
    let schedule = Schedule::new(&reference_diffusion(10, 0.0));
    let t = case.steps("in.t");
    let noisy = schedule.q_sample(case.tensor("loss.z1"), &t, case.tensor("loss.noise"));
    let x = Tensor::cat(vec![noisy, case.tensor("ddim.z_ref")], 1);
    let context: Tensor<3> = case.tensor("in.context");
    let blurred = Ldm::default().perturbed(context.clone(), case.tensor("loss.perturbation"));
    let eps = net.forward(x.clone(), &t, &context, None);
    let perturbed = net.forward(x, &t, &blurred, None);
    case.near("loss.eps", eps.clone());
    case.near("loss.eps_perturbed", perturbed.clone());
    ldm_terms(&case, eps, perturbed, TOLERANCE);
}

#[test]
fn the_distance_of_the_autoencoder_from_the_files_own_moments() {
    let Some(case) = Case::open("vae") else { return };
    let posterior = Posterior { mean: case.tensor("out.mean"), logvar: case.tensor("out.logvar") };
    case.within(TABLE_TOLERANCE, "out.kl", posterior.kl());
    let of_samples = &case.tensors["out.kl"].values;
    let mean = of_samples.iter().map(|&x| f64::from(x)).sum::<f64>() / of_samples.len() as f64;
    let got = f64::from(vae::kl(&posterior).into_scalar::<f32>());
    case.compare("mean of out.kl", &[got], &[mean], TABLE_TOLERANCE);
}

fn entropy(task: &str) {
    let Some(case) = Case::open(&format!("fusion_{task}")) else { return };
    let (net, config) = fusion_model(&case);
    let outputs = config.task.outputs();
    let matrix = |name: &str| -> Tensor<2> {
        let values = case.tensors[name].values.clone();
        let rows = values.len() / outputs;
        Tensor::from_data(TensorData::new(values, [rows, outputs]), &case.device)
    };
    let positive = || case.tensor::<1>("w.loss.pos_weight");
    let labels = || matrix("in.labels");
    let own = weighted_binary_cross_entropy(matrix("out.logits"), labels(), positive());
    case.within(TABLE_TOLERANCE, "out.weighted_bce", own);
    let logits = net.forward(FusionInput {
        ehr: case.tensor("in.ehr"),
        ehr_keep: None,
        latent: case.tensor("in.latent"),
        image_features: case.tensor("in.image_features"),
        present: None,
    });
    let through = weighted_binary_cross_entropy(logits, labels(), positive());
    case.within(ENTROPY_TOLERANCE, "out.weighted_bce", through);
}

#[test]
fn the_weighted_entropy_of_mortality() {
    entropy("mortality");
}

#[test]
fn the_weighted_entropy_of_the_phenotypes() {
    entropy("phenotype");
}

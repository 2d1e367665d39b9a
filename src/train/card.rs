//! The model card: what a reader must know before he believes a number.

use super::{DataKind, Discrimination, FusionScore, TrainOptions, TrainSummary};

/// The card in Markdown.
pub(super) fn card(options: &TrainOptions, summary: &TrainSummary) -> String {
    let [train, validate, test] = summary.stays;
    let mut text = format!(
        "# {} {}\n\n{}## How it was made\n\n```\n{}\n```\n\n\
         Seed {}. {:.0} s after the samples were there. Steps: autoencoder {}, diffusion {}, \
         mortality {}, phenotypes {}. Absolute error, KL distance and findings for the \
         autoencoder ({}); error of the prediction, contrastive \
         term and findings for the diffusion; weighted cross-entropy with dropout of modalities \
         for the fusion, every stay weighing the same. Latents are scaled by {:.4}.\n\n",
        options.name,
        options.version,
        opening(options),
        options.command,
        summary.seed,
        summary.seconds,
        summary.steps[0],
        summary.steps[1],
        summary.steps[2],
        summary.steps[3],
        further_terms(options, summary),
        summary.scale_factor,
    );
    text += &format!(
        "| samples | training | validation | test |\n|---|---|---|---|\n\
         | stays | {train} | {validate} | {test} |\n{}{}{}\n",
        row("films", summary.films),
        row("film pairs", summary.pairs),
        row("windows", summary.windows),
    );
    text += &format!(
        "## Figures on stays not trained on ({})\n\nAutoencoder: mean absolute error {:.4} (of a \
         range of 2), findings from the latent AUROC {:.3}.\n\n",
        options.data.whose, summary.vae.absolute_error, summary.vae.findings_auroc,
    );
    if let Some(ldm) = &summary.ldm {
        text += &format!(
            "Generation, {} pairs of films more than 12 h apart: mean squared distance to the \
             later film's latent {:.3} generated, {:.3} carried forward; the later film's findings \
             read off the generated latent AUROC {:.3}, off the earlier film's {:.3}.\n\n",
            ldm.pairs,
            ldm.generated_mse,
            ldm.carried_mse,
            ldm.generated_findings_auroc,
            ldm.carried_findings_auroc,
        );
    }
    text += "In-hospital death (AUROC with the half width of its 95 % interval; AUPRC), the same \
             fusion model shown three things:\n\n\
             | windows | n (deaths) | generated film | last film carried forward | EHR \
             only |\n|---|---|---|---|---|\n";
    text += &mortality("at 48 h", summary.landmark.as_ref());
    text += &mortality("at any hour", summary.any_hour.as_ref());
    text += &format!(
        "\nIntervals at any hour are too narrow: windows of one stay are not independent. \
         Phenotypes at 48 h: macro AUROC {:.3}. Probabilities are recalibrated on the validation \
         windows, and the covariance of that fit over stays is stored with it.\n\n\
         A generated film is a function of the last film, the EHR and a fixed noise: given enough \
         labels it cannot tell more than those. `training/` holds the log of the run and pictures \
         of films beside their reconstructions, and of earlier film, later film and generated \
         film.\n",
        summary.phenotype_auroc.unwrap_or(f64::NAN),
    );
    text
}

/// The terms of the autoencoder's loss that not every run has.
fn further_terms(options: &TrainOptions, summary: &TrainSummary) -> String {
    if options.autoencoder.is_some() {
        return "taken from another model".to_owned();
    }
    let perceptual = match &summary.perceptual {
        Some(digest) => format!("perceptual term with the VGG16 weights {}", &digest[..12]),
        None => "no perceptual term".to_owned(),
    };
    let loss = &options.recipe.vae.loss;
    match loss.adversarial > 0.0 && summary.steps[0] > loss.adversarial_from {
        true => format!("{perceptual}, adversarial term from step {}", loss.adversarial_from),
        false => format!("{perceptual}, no adversarial term"),
    }
}

/// What a reader must know first.
fn opening(options: &TrainOptions) -> String {
    let whose = &options.data.whose;
    match options.data.kind {
        DataKind::Synthetic => "A DDL-CXR model **trained on a synthetic ward only**. No real \
             patient and no real film was used, so nothing here says anything about patients. It \
             exists so that the program can be run, tested and shown without \
             credentials.\n\n## Not for\n\nAny clinical use, any statement about the method's \
             worth, any comparison with published figures. The films are drawn, the courses of \
             illness are invented, and the link between them is the author's.\n\n"
            .to_owned(),
        DataKind::SimulatedPairing => format!(
            "A DDL-CXR model trained on {whose}. **The pairing of films and stays is simulated**: \
             the films are of other patients, so no figure here is a clinical result.\n\n\
             ## Not for\n\nAny clinical use, and any statement about the method's worth.\n\n"
        ),
        DataKind::Recorded => format!(
            "A DDL-CXR model trained on {whose}. It has not been validated clinically.\n\n\
             ## Not for\n\nAny clinical use.\n\n"
        ),
    }
}

fn row(name: &str, n: [usize; 3]) -> String {
    format!("| {name} | {} | {} | {} |\n", n[0], n[1], n[2])
}

fn mortality(name: &str, score: Option<&FusionScore>) -> String {
    let cell =
        |d: &Discrimination| format!("{:.3} ± {:.3}; {:.3}", d.auroc, d.auroc_half_width, d.auprc);
    match score {
        Some(score) => format!(
            "| {name} | {} ({}) | {} | {} | {} |\n",
            score.windows,
            score.deaths,
            cell(&score.generated),
            cell(&score.carry_forward),
            cell(&score.ehr_only)
        ),
        None => format!("| {name} | too few | | | |\n"),
    }
}

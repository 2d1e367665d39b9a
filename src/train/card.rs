//! The model card: what a reader must know before he believes a number.

use super::{Discrimination, FusionScore, TrainOptions, TrainSummary};

/// The card in Markdown.
pub(super) fn card(options: &TrainOptions, summary: &TrainSummary) -> String {
    let [train, validate, test] = summary.stays;
    let mut text = format!(
        "# {} {}\n\n\
         A DDL-CXR model of CPU size, **trained on a synthetic ward only**. No real patient and no \
         real film was used, so nothing here says anything about patients. It exists so that the \
         program can be run, tested and shown without credentials.\n\n\
         ## Not for\n\n\
         Any clinical use, any statement about the method's worth, any comparison with published \
         figures. The films are drawn, the courses of illness are invented, and the link between \
         them is the author's.\n\n\
         ## How it was made\n\n\
         ```\n{}\n```\n\n\
         Seed {}. {:.0} s on the CPU after the ward was drawn. Steps: autoencoder {}, diffusion \
         {}, mortality {}, phenotypes {}. First form of the training: absolute error, KL distance \
         and findings for the autoencoder (no perceptual and no adversarial term); error of the \
         prediction, contrastive term and findings for the diffusion; weighted cross-entropy with \
         dropout of modalities for the fusion. Latents are scaled by {:.4}.\n\n",
        options.name,
        options.version,
        options.command,
        summary.seed,
        summary.seconds,
        summary.steps[0],
        summary.steps[1],
        summary.steps[2],
        summary.steps[3],
        summary.scale_factor,
    );
    text += &format!(
        "| synthetic | training | validation | test |\n|---|---|---|---|\n\
         | stays | {train} | {validate} | {test} |\n{}{}{}\n",
        row("films", summary.films),
        row("film pairs", summary.pairs),
        row("windows", summary.windows),
    );
    text += &format!(
        "## Figures on synthetic stays not trained on\n\n\
         Autoencoder: mean absolute error {:.4} (of a range of 2), findings from the latent AUROC \
         {:.3}.\n\n\
         Generation, {} pairs of films more than 12 h apart: mean squared distance to the later \
         film's latent {:.3} generated, {:.3} carried forward; the later film's findings read off \
         the generated latent AUROC {:.3}, off the earlier film's {:.3}.\n\n",
        summary.vae.absolute_error,
        summary.vae.findings_auroc,
        summary.ldm.pairs,
        summary.ldm.generated_mse,
        summary.ldm.carried_mse,
        summary.ldm.generated_findings_auroc,
        summary.ldm.carried_findings_auroc,
    );
    text += "In-hospital death (AUROC with the half width of its 95 % interval; AUPRC), the same \
             fusion model shown three things:\n\n\
             | synthetic windows | n (deaths) | generated film | last film carried forward | EHR \
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
        summary.phenotype_auroc,
    );
    text
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

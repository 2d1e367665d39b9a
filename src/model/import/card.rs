//! The model card of an imported model.

use super::report::Report;
use crate::event::dictionary::Profile;
use crate::model::config::DdlCxrConfig;

/// The card in Markdown.
pub fn card(report: &Report, config: &DdlCxrConfig, profile: Profile) -> String {
    let mut text = String::from(
        "# An imported DDL-CXR model\n\n\
         The weights come from the checkpoints below and were not changed. What they were trained \
         on and how well they do stands in no checkpoint: ask who trained them.\n\n\
         ## Not for\n\n\
         Any clinical use. The method is published for in-hospital mortality and 25 phenotypes at \
         48 h after ICU admission, on one hospital's data; at any other hour its predictions are \
         outside what it was trained for. Probabilities are the model's own, not calibrated.\n\n\
         ## Where it comes from\n\n\
         | file | stage | tensors | used | averages among them | SHA-256 |\n\
         |---|---|---|---|---|---|\n",
    );
    for source in &report.sources {
        text += &format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            source.file, source.stage, source.tensors, source.used, source.averages, source.sha256
        );
    }
    text += "\nNot used:\n\n";
    for source in &report.sources {
        for (reason, count) in source.reasons() {
            text += &format!("- {}: {reason} ({count})\n", source.file);
        }
        if !source.others.is_empty() {
            text += &format!("- {}: not tensors: {}\n", source.file, source.others.join(", "));
        }
    }
    text += &format!(
        "\nStarting noise: {}. Latents are scaled by {}, from {}. Normalisers: {}. Sampler: {} \
         evaluations, eta {}. Input: the {} profile.\n",
        report.noise,
        report.scale_factor,
        report.scale_factor_from,
        report.normalisers,
        config.diffusion.steps,
        config.diffusion.eta,
        match profile {
            Profile::Clinical => "clinical",
            Profile::Reference => "reference",
        },
    );
    for remark in &report.remarks {
        text += &format!("\n**Note**: {remark}.\n");
    }
    text
}

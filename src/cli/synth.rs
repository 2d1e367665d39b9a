//! `nowcxr synth`: a synthetic ward as MIMIC files, and what can be said of it: its statistics, the
//! ceiling of the proof, the film of any moment.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::progress::Progress;
use crate::synth::ceiling::{Ceiling, CeilingOptions, TwinScore, Twins, ceiling};
use crate::synth::{Hospital, LATENT_NAMES, Physics, Shift, Truth, WardOptions};
use crate::synth::{report, write_ward};
use crate::time::EventTime;

#[derive(Args)]
pub struct SynthArgs {
    /// How many patients.
    #[arg(long, default_value_t = 60)]
    patients: u64,
    /// The ward is a function of it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which ward: `demo`, that of the shipped model, or `proof`, on which the method is measured.
    #[arg(long, default_value = "demo")]
    ward: Physics,
    /// Another hospital, as name=value with commas between: older (years), sicker, films, charting,
    /// lag, noise (factors), exposure (of the films). Example: older=5,films=0.7
    #[arg(long, default_value = "", hide_default_value = true)]
    shift: Shift,
    /// Where mimiciv/, mimic-cxr-jpg/ and truth/ go.
    #[arg(long, required_unless_present_any = ["report", "ceiling", "oracle"])]
    out: Option<PathBuf>,
    /// Write no files; compare the ward's statistics with the published cohort's.
    #[arg(long, conflicts_with_all = ["out", "ceiling", "oracle"])]
    report: bool,
    /// Write no ward; fit the four twins on the true severities and say what generation can gain.
    #[arg(long, conflicts_with_all = ["out", "oracle"])]
    ceiling: bool,
    /// With --ceiling: labelled stays to fit on.
    #[arg(long, default_value_t = 2_000)]
    labelled: usize,
    /// With --ceiling: stays to predict, of the ward of --test-seed.
    #[arg(long, default_value_t = 5_000)]
    tested: usize,
    /// With --ceiling: seed of the ward that is predicted.
    #[arg(long, default_value_t = 2)]
    test_seed: u64,
    /// Write no ward; draw the film that stay NUMBER (from 0) would have had HOURS after admission,
    /// as JPEG into --out.
    #[arg(long, value_name = "NUMBER@HOURS", requires = "out")]
    oracle: Option<String>,
    /// With --report and --ceiling: print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &SynthArgs) -> Result<ExitCode> {
    let hospital = Hospital { physics: args.ward, shift: args.shift };
    if args.report {
        return tell_statistics(args, hospital);
    }
    if args.ceiling {
        return tell_ceiling(args, hospital);
    }
    let Some(out) = args.out.as_deref() else { bail!("name where the ward goes with --out") };
    if let Some(moment) = &args.oracle {
        return draw_oracle(args, hospital, moment, out);
    }
    let WardOptions { beds, film_rows, .. } = WardOptions::default();
    let options =
        WardOptions { patients: args.patients, seed: args.seed, beds, hospital, film_rows };
    let mut progress = Progress::new("making the ward", "patients");
    let summary = write_ward(&options, out, &mut |done, all| progress.set(done, all))?;
    progress.finish();
    super::print(&serde_json::to_string_pretty(&summary)?)?;
    Ok(ExitCode::SUCCESS)
}

fn tell_statistics(args: &SynthArgs, hospital: Hospital) -> Result<ExitCode> {
    let mut progress = Progress::new("simulating", "patients");
    let told = report(hospital, args.seed, args.patients, &mut |done, all| {
        progress.set(done, all);
    })?;
    progress.finish();
    let text = if args.json { serde_json::to_string_pretty(&told)? } else { told.to_string() };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Exits with 1 when a threshold is missed, so that a script can hold the ward to them.
fn tell_ceiling(args: &SynthArgs, hospital: Hospital) -> Result<ExitCode> {
    let options = CeilingOptions {
        hospital,
        seed: args.seed,
        test_seed: args.test_seed,
        labelled: args.labelled,
        tested: args.tested,
        ..CeilingOptions::default()
    };
    let mut progress = Progress::new("simulating", "stays");
    let found = ceiling(&options, &mut |done, all| progress.set(done, all))?;
    progress.finish();
    let json = serde_json::to_string_pretty(&found)?;
    super::print(&if args.json { json } else { in_words(&found) })?;
    Ok(if found.missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_words(c: &Ceiling) -> String {
    let between = |interval: Option<(f64, f64)>| match interval {
        Some((low, high)) => format!("{low:.3} to {high:.3}"),
        None => "no interval".to_owned(),
    };
    let twin = |name: &str, t: &TwinScore| {
        let range = between(t.auprc.interval);
        format!("    {name:<34}{:.3}  ({range})   AUROC {:.3}\n", t.auprc.value, t.auroc)
    };
    let twins = |what: &str, t: &Twins| {
        format!("  {what}, AUPRC (prevalence {:.3})\n", t.prevalence)
            + &twin("chart only", &t.chart_only)
            + &twin("+ severities of the last film", &t.carried)
            + &twin("+ severities of now, regressed", &t.regressed)
            + &twin("+ severities of now, true", &t.oracle)
    };
    let mut text = format!(
        "ward of seed {}, tested on that of seed {}\n  {} labelled stays ({} deaths), {} tested \
         ({} deaths), {} film pairs, {:.1} a labelled stay\n  \
         R² of the severities of now    all    film ≥ 24 h old\n",
        c.seed,
        c.test_seed,
        c.labelled_stays,
        c.deaths_trained,
        c.tested_stays,
        c.deaths_tested,
        c.film_pairs,
        c.pairs_per_labelled_stay
    );
    for (what, r2) in [
        ("last film unchanged", &c.r2_unchanged),
        ("last film, best line", &c.r2_carried),
        ("chart only", &c.r2_chart_only),
        ("chart and last film", &c.r2_regressed),
    ] {
        text += &format!("    {what:<26}{:>6.3}{:>10.3}\n", r2.pooled, r2.from_24h);
    }
    text += &twins("mortality", &c.mortality);
    text += &twins("phenotypes, macro mean", &c.phenotypes);
    for (what, gain) in [
        ("regressed over carried", &c.regressed_over_carried),
        ("oracle over carried", &c.oracle_over_carried),
        ("phenotypes, regressed over carried", &c.phenotypes_regressed_over_carried),
    ] {
        text += &format!("  {what}: {:.3} ({})\n", gain.value, between(gain.interval));
    }
    text + &match c.missed.is_empty() {
        true => "every threshold is met".to_owned(),
        false => format!("missed: {}", c.missed.join("; ")),
    }
}

fn draw_oracle(args: &SynthArgs, hospital: Hospital, moment: &str, out: &Path) -> Result<ExitCode> {
    let (number, hours) = moment
        .split_once('@')
        .and_then(|(number, hours)| Some((number.parse().ok()?, hours.parse::<f64>().ok()?)))
        .filter(|(_, hours)| hours.is_finite())
        .with_context(|| format!("{moment} is not NUMBER@HOURS, such as 17@36.5"))?;
    let truth = Truth::new(hospital, args.seed, number);
    let t = EventTime::from_millis((hours * 3_600_000.0) as i64);
    let film = truth.film(t, WardOptions::default().film_rows as usize)?;
    std::fs::write(out, &film.jpeg).with_context(|| format!("cannot write {}", out.display()))?;
    let severities = LATENT_NAMES.iter().zip(truth.severities(t));
    let told: serde_json::Map<String, serde_json::Value> =
        severities.map(|(name, value)| ((*name).to_owned(), value.into())).collect();
    super::print(&serde_json::to_string_pretty(&serde_json::json!({
        "stay_id": truth.stay_id, "hours": hours, "severities": told,
    }))?)?;
    Ok(ExitCode::SUCCESS)
}

//! The flags of `nowcxr replay` that say when a recorded value counts as known. Each stands for a
//! key of `[replay]`, so that file, environment and flags mean the same.

use clap::Args;

#[derive(Args)]
#[command(next_help_heading = "When a value counts as known (keys of [replay])")]
pub struct AvailabilityArgs {
    /// `available`: from when it was stored; `charttime`: from when it was charted or taken, as
    /// the published pipelines do, which is more than a ward could have known.
    #[arg(long, value_parser = ["available", "charttime"])]
    clock: Option<String>,
    /// Charted values: `device` as a monitor sends them, `validated` when staff stored them.
    #[arg(long, value_parser = ["device", "validated"])]
    charts: Option<String>,
    /// Charttime to availability of what a monitor sends, such as 1m.
    #[arg(long, value_name = "TIME")]
    device_lag: Option<String>,
    /// Charttime to availability of a lab whose storetime is not known, such as 65m.
    #[arg(long, value_name = "TIME")]
    lab_lag: Option<String>,
    /// Acquisition to availability of a film, such as 15m. MIMIC-CXR does not record it.
    #[arg(long, value_name = "TIME")]
    cxr_lag: Option<String>,
    /// Up to this much is added to the lag of each film, drawn from the seed.
    #[arg(long, value_name = "TIME")]
    cxr_jitter: Option<String>,
}

impl AvailabilityArgs {
    /// What was given, as `section.key=value`.
    pub fn sets(&self) -> Vec<String> {
        let AvailabilityArgs { clock, charts, device_lag, lab_lag, cxr_lag, cxr_jitter } = self;
        [
            ("clock", clock),
            ("charts", charts),
            ("device_lag", device_lag),
            ("lab_lag", lab_lag),
            ("cxr_lag", cxr_lag),
            ("cxr_jitter", cxr_jitter),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some(format!("replay.{key}={}", value.as_ref()?)))
        .collect()
    }
}

//! What is measured of one window's generated film.

use super::oracle::{Oracle, read_outs};
use super::windows::GivenWindow;
use crate::ids::StayId;
use crate::metrics::anatomy::{lung_overlap, sharpness};
use crate::predict::{Pipeline, Portrait, Prepared};

/// One window.
pub(super) struct Look {
    /// Its place among the windows.
    pub(super) window: usize,
    pub(super) stay: StayId,
    pub(super) film_age_h: f64,
    pub(super) died: Option<bool>,
    pub(super) generated: Read,
    pub(super) carried: Read,
    pub(super) oracle: Option<OracleRead>,
    /// Of the oracle's film, or else of the last one.
    pub(super) real_features: Vec<f64>,
    pub(super) lung_overlap: f64,
    pub(super) sharpness: f64,
    /// Changes of the latent, of its own root mean square.
    pub(super) ehr_effect: Option<f64>,
    pub(super) change: f64,
    pub(super) step: Option<f64>,
}

/// What is read off a latent.
pub(super) struct Read {
    pub(super) mortality: f64,
    /// Of each severity, a logit.
    pub(super) severities: Vec<f64>,
    pub(super) features: Vec<f64>,
}

/// The film that would have been taken.
pub(super) struct OracleRead {
    pub(super) read: Read,
    /// Root mean square distance of latents from the oracle's.
    pub(super) generated_latent: f64,
    pub(super) carried_latent: f64,
    /// Mean absolute difference of pictures, of the whole range.
    pub(super) generated_film: f64,
    pub(super) carried_film: f64,
    /// The true severities.
    pub(super) truth: Vec<f64>,
    /// Step of the oracle's latent from this window to the next, as [`Look::step`].
    pub(super) step: Option<f64>,
}

impl Read {
    fn of(portrait: &Portrait) -> Self {
        let finding = |(k, _): (usize, &str)| portrait.findings.get(k).map(|&x| f64::from(x));
        Read {
            mortality: portrait.glance.mortality,
            severities: read_outs().into_iter().filter_map(finding).collect(),
            features: portrait.features.clone(),
        }
    }
}

fn rms(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    (values.map(|x| x * x).sum::<f64>() / n).sqrt()
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    rms(a.iter().zip(b).map(|(a, b)| f64::from(a - b)))
}

fn pictures_apart(a: &Portrait, b: &Portrait) -> f64 {
    let (a, b) = (&a.glance.picture.pixels, &b.glance.picture.pixels);
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    sum / (255.0 * a.len().max(1) as f64)
}

/// Looks at window `i`; `None` if the model gives no number for it.
pub(super) fn look(
    pipeline: &mut Pipeline,
    windows: &[GivenWindow],
    i: usize,
    oracle: Option<&Oracle>,
) -> Option<Look> {
    let window = windows.get(i)?;
    let prepared = pipeline.prepare(&window.request)?;
    let seed = window.request.seed;
    let latent = pipeline.sampled(&prepared, None, None, seed);
    let now = pipeline.portrait(&prepared, latent)?;
    let before = pipeline.portrait(&prepared, pipeline.carried(&prepared))?;
    let size = rms(now.glance.latent.iter().map(|&x| f64::from(x))).max(f64::MIN_POSITIVE);
    let from_now = |latent: &[f32]| apart(latent, &now.glance.latent) / size;
    let swapped = another_stay(windows, i).and_then(|other| {
        let latent = pipeline.sampled(&prepared, Some(&other.request), None, seed);
        Some(from_now(&pipeline.glance(&prepared, latent)?.latent))
    });
    let next = windows.get(i + 1);
    let next = next.filter(|n| n.stay() == window.stay() && n.film_at == window.film_at);
    let step = next.and_then(|next| {
        let prepared = pipeline.prepare(&next.request)?;
        let latent = pipeline.sampled(&prepared, None, None, next.request.seed);
        Some(from_now(&pipeline.glance(&prepared, latent)?.latent))
    });
    let (oracle, real_features) = match oracle {
        None => (None, pipeline.features(window.request.film.as_ref()?.pixels())?),
        Some(oracle) => {
            // A stay of another ward has no truth and is left out, so that the sets compare.
            let there = Scene { prepared: &prepared, now: &now, before: &before, window, next };
            let (read, features) = there.beside(pipeline, oracle)?;
            (Some(read), features)
        }
    };
    let sharp = sharpness(&before.glance.picture).max(f64::MIN_POSITIVE);
    Some(Look {
        window: i,
        stay: window.stay(),
        film_age_h: window.film_age_h(),
        died: None,
        lung_overlap: lung_overlap(&now.glance.picture, &before.glance.picture),
        sharpness: sharpness(&now.glance.picture) / sharp,
        ehr_effect: swapped,
        change: from_now(&before.glance.latent),
        step,
        generated: Read::of(&now),
        carried: Read::of(&before),
        oracle,
        real_features,
    })
}

/// A window half the run away, of another stay.
fn another_stay(windows: &[GivenWindow], i: usize) -> Option<&GivenWindow> {
    let own = windows.get(i)?.stay();
    let n = windows.len();
    let others = (0..n).filter_map(|k| windows.get((i + n / 2 + k) % n));
    others.into_iter().find(|other| other.stay() != own)
}

/// A window and what the model drew of it.
struct Scene<'a> {
    prepared: &'a Prepared,
    now: &'a Portrait,
    before: &'a Portrait,
    window: &'a GivenWindow,
    next: Option<&'a GivenWindow>,
}

impl Scene<'_> {
    /// The scene beside the film that would have been taken, and that film's own features.
    fn beside(&self, pipeline: &mut Pipeline, oracle: &Oracle) -> Option<(OracleRead, Vec<f64>)> {
        let moment = oracle.at(self.window.stay(), self.window.since_admission())?;
        let latent = pipeline.latent_of(&moment.film)?;
        let seen = pipeline.portrait(self.prepared, latent)?;
        let size = rms(seen.glance.latent.iter().map(|&x| f64::from(x))).max(f64::MIN_POSITIVE);
        let step = self.next.and_then(|next| {
            let later = oracle.at(next.stay(), next.since_admission())?;
            let latent = pipeline.latent_of(&later.film)?;
            let later = pipeline.glance(self.prepared, latent)?;
            Some(apart(&later.latent, &seen.glance.latent) / size)
        });
        let read = OracleRead {
            generated_latent: apart(&self.now.glance.latent, &seen.glance.latent),
            carried_latent: apart(&self.before.glance.latent, &seen.glance.latent),
            generated_film: pictures_apart(self.now, &seen),
            carried_film: pictures_apart(self.before, &seen),
            truth: moment.severities.to_vec(),
            read: Read::of(&seen),
            step,
        };
        Some((read, pipeline.features(moment.film.pixels())?))
    }
}

//! The ways in which generation is known to fail, each as a question with a number and a bound.

use serde::Serialize;

use super::figures::{Figure, Figures};
use super::films::FilmQuality;
use crate::train::symptoms::{EHR_EFFECT_LEAST, LUNGS_LOST_MOST, SHARPNESS_LEAST};

/// One way to fail.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Signature {
    pub name: &'static str,
    /// What the number is.
    pub what: &'static str,
    pub value: Figure,
    pub bound: String,
    /// `None` where the number does not exist.
    pub found: Option<bool>,
}

enum Bound {
    Least(f64),
    Most(f64),
    /// The whole interval above 0: a gain that could be chance is none.
    Gain,
}

fn signature(name: &'static str, what: &'static str, value: &Figure, bound: Bound) -> Signature {
    let known = value.known();
    let found = known.map(|estimate| match bound {
        Bound::Least(least) => estimate.value < least,
        Bound::Most(most) => estimate.value > most,
        Bound::Gain => !estimate.is_above_zero(),
    });
    let bound = match bound {
        Bound::Least(least) => format!("at least {least}"),
        Bound::Most(most) => format!("at most {most}"),
        Bound::Gain => "the whole interval above 0".to_owned(),
    };
    Signature { name, what, value: value.clone(), bound, found }
}

/// The signatures of `quality`; those that need the truth only where it is known.
pub(super) fn signatures(quality: &FilmQuality) -> Vec<Signature> {
    let mut all = vec![
        signature(
            "no change although the EHR moved",
            "change of the latent when it is drawn with another stay's EHR, of its own size",
            &quality.ehr_effect,
            Bound::Least(EHR_EFFECT_LEAST),
        ),
        signature(
            "anatomy lost",
            "share of windows whose lung fields overlap with the last film's by less than 0.8",
            &quality.lungs_lost,
            Bound::Most(LUNGS_LOST_MOST),
        ),
        signature(
            "blurred",
            "squared steps between neighbouring pixels, of those of the last film",
            &quality.sharpness,
            Bound::Least(SHARPNESS_LEAST),
        ),
    ];
    if let Some(truth) = &quality.truth {
        if let Some(overall) = truth.distances.first() {
            all.push(signature(
                "no nearer than the last film",
                "part of the latent distance to the film that would have been taken that is gone",
                &overall.closed,
                Bound::Gain,
            ));
        }
        all.push(signature(
            "no part of the oracle's gain",
            "part of the AUPRC that the film of now would gain, gained by the generated one",
            &truth.auprc.closed,
            Bound::Gain,
        ));
    }
    all
}

/// Whether the twins show no gain; `None` where no window has both.
pub(super) fn no_gain(figures: &Figures) -> Option<Signature> {
    let difference = figures.differences.first()?;
    Some(signature(
        "no gain over carry-forward",
        "paired difference of the mortality AUPRC over every hour, generated minus last film",
        &difference.auprc,
        Bound::Gain,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Estimate;

    fn at(value: f64, interval: Option<(f64, f64)>) -> Figure {
        Figure::Known(Estimate { value, interval })
    }

    #[test]
    fn a_gain_that_could_be_chance_is_none() {
        let found = |value: &Figure, bound| signature("a", "b", value, bound).found;
        assert_eq!(found(&at(0.2, Some((-0.1, 0.4))), Bound::Gain), Some(true));
        assert_eq!(found(&at(0.2, Some((0.1, 0.4))), Bound::Gain), Some(false));
        assert_eq!(found(&at(0.2, None), Bound::Gain), Some(true));
        assert_eq!(found(&at(0.04, None), Bound::Least(0.05)), Some(true));
        assert_eq!(found(&at(0.04, None), Bound::Most(0.05)), Some(false));
        let unknown = Figure::Unknown { undefined: "no sample".to_owned() };
        assert_eq!(found(&unknown, Bound::Most(0.05)), None);
    }
}

//! Generated films against the film that would have been taken, on a ward that knows it.

use serde::Serialize;

use super::figures::Figure;
use super::films::{mean_of, patients};
use super::look::{Look, OracleRead};
use super::oracle::read_outs;
use super::{EvaluateError, EvaluateOptions};
use crate::event::risk::FilmAge;
use crate::metrics::{Patients, Ranked, Undefined};
use crate::time::Span;

/// All figures that need the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgainstTruth {
    /// Overall first, then by the age of the last film.
    pub distances: Vec<OracleDistance>,
    /// Mortality AUPRC with the latent of each film, on the same windows.
    pub auprc: OracleGap,
    pub severities: Vec<SeverityRead>,
    /// Mean over the severities of the correlation within stays: whether a stay's course is
    /// followed, apart from how ill it is.
    pub course_generated: Figure,
    pub course_carried: Figure,
    pub course_oracle: Figure,
    /// Step of the oracle's latent from a window to the next, of its own size.
    pub oracle_step: Figure,
}

/// How far films lie from the oracle's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OracleDistance {
    pub name: String,
    pub windows: usize,
    /// Root mean square distance of scaled latents.
    pub generated: Figure,
    pub carried: Figure,
    /// 1 − generated / carried, of the mean distances: the part of the way that is gone.
    pub closed: Figure,
    /// Mean absolute difference of pictures, of the whole range.
    pub generated_film: Figure,
    pub carried_film: Figure,
}

/// What the film of now would be worth, and how much of that the generated one gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OracleGap {
    pub generated: Figure,
    pub carried: Figure,
    pub oracle: Figure,
    /// (generated − carried) / (oracle − carried); no number where the oracle gains nothing.
    pub closed: Figure,
}

/// Correlation of a severity with what the autoencoder's findings head reads off a latent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeverityRead {
    pub severity: &'static str,
    pub generated: Figure,
    pub carried: Figure,
    pub oracle: Figure,
}

/// Read-outs of one kind of latent, and the truth.
type Pick = fn(&Look, usize) -> Option<(f64, f64)>;

fn pair(read: Option<&f64>, oracle: &OracleRead, k: usize) -> Option<(f64, f64)> {
    Some((*read?, *oracle.truth.get(k)?))
}

const GENERATED: Pick = |one, k| pair(one.generated.severities.get(k), one.oracle.as_ref()?, k);
const CARRIED: Pick = |one, k| pair(one.carried.severities.get(k), one.oracle.as_ref()?, k);
const ORACLE: Pick = |one, k| {
    let oracle = one.oracle.as_ref()?;
    pair(oracle.read.severities.get(k), oracle, k)
};

/// `None` where no window has a truth.
pub(super) fn against_truth(
    looks: &[Look],
    options: EvaluateOptions,
) -> Result<Option<AgainstTruth>, EvaluateError> {
    if looks.iter().all(|one| one.oracle.is_none()) {
        return Ok(None);
    }
    let drawn = patients(looks, options)?;
    let severities = read_outs().into_iter().enumerate().map(|(k, (_, severity))| SeverityRead {
        severity,
        generated: correlation(&drawn, looks, k, GENERATED),
        carried: correlation(&drawn, looks, k, CARRIED),
        oracle: correlation(&drawn, looks, k, ORACLE),
    });
    Ok(Some(AgainstTruth {
        distances: distances(looks, &drawn),
        auprc: gap(looks, options)?,
        severities: severities.collect(),
        course_generated: course(&drawn, looks, GENERATED),
        course_carried: course(&drawn, looks, CARRIED),
        course_oracle: course(&drawn, looks, ORACLE),
        oracle_step: mean_of(&drawn, looks, &|one| one.oracle.as_ref()?.step),
    }))
}

fn age(one: &Look) -> FilmAge {
    FilmAge::of(Span::from_millis((one.film_age_h * 3_600_000.0).round() as i64))
}

fn distances(looks: &[Look], drawn: &Patients) -> Vec<OracleDistance> {
    let mut ages: Vec<FilmAge> = looks.iter().map(age).collect();
    ages.sort_by_key(|age| *age as u8);
    ages.dedup();
    let strata = ages.into_iter().map(|stratum| distance(looks, drawn, Some(stratum)));
    std::iter::once(distance(looks, drawn, None)).chain(strata).collect()
}

fn distance(looks: &[Look], drawn: &Patients, stratum: Option<FilmAge>) -> OracleDistance {
    let within = |one: &Look| stratum.is_none_or(|stratum| age(one) == stratum);
    let of = |one: &Look, value: fn(&OracleRead) -> f64| {
        one.oracle.as_ref().filter(|_| within(one)).map(value)
    };
    let mean = |value: fn(&OracleRead) -> f64| mean_of(drawn, looks, &move |one| of(one, value));
    let closed = drawn.estimate(|weights| {
        let sum = |value: fn(&OracleRead) -> f64| -> f64 {
            looks.iter().zip(weights).filter_map(|(one, w)| Some(of(one, value)? * w)).sum()
        };
        let carried = sum(|oracle| oracle.carried_latent);
        let generated = sum(|oracle| oracle.generated_latent);
        if carried > 0.0 { Ok(1.0 - generated / carried) } else { Err(Undefined::Empty) }
    });
    OracleDistance {
        name: stratum.map_or("all".to_owned(), |stratum| stratum.name().to_owned()),
        windows: looks.iter().filter(|one| within(one)).count(),
        generated: mean(|oracle| oracle.generated_latent),
        carried: mean(|oracle| oracle.carried_latent),
        closed: closed.into(),
        generated_film: mean(|oracle| oracle.generated_film),
        carried_film: mean(|oracle| oracle.carried_film),
    }
}

/// Every stay weighs the same, as everywhere where outcomes are ranked.
fn gap(looks: &[Look], options: EvaluateOptions) -> Result<OracleGap, EvaluateError> {
    let known: Vec<(&Look, &OracleRead, bool)> =
        looks.iter().filter_map(|one| Some((one, one.oracle.as_ref()?, one.died?))).collect();
    let unknown = || Figure::from(Err(Undefined::Empty));
    if known.is_empty() {
        let (generated, carried) = (unknown(), unknown());
        return Ok(OracleGap { generated, carried, oracle: unknown(), closed: unknown() });
    }
    let died: Vec<bool> = known.iter().map(|(_, _, died)| *died).collect();
    let ranked = |of: fn(&Look, &OracleRead) -> f64| {
        let scores: Vec<f64> = known.iter().map(|(one, oracle, _)| of(one, oracle)).collect();
        Ranked::new(&scores, &died)
    };
    let ranked = [
        ranked(|one, _| one.generated.mortality)?,
        ranked(|one, _| one.carried.mortality)?,
        ranked(|_, oracle| oracle.read.mortality)?,
    ];
    let runs = known.chunk_by(|(a, ..), (b, ..)| a.stay == b.stay);
    let weights = runs.flat_map(|run| vec![1.0 / run.len() as f64; run.len()]).collect();
    let ids: Vec<u64> = known.iter().map(|(one, ..)| one.stay.0).collect();
    let drawn = Patients::new(&ids, weights, options.replicates, options.seed)?;
    let found = drawn.estimates(|w| {
        let both = |one: &Ranked| one.auroc(w).and(one.auprc(w));
        let [generated, carried, oracle] = [0, 1, 2].map(|n| both(&ranked[n]));
        let closed = || {
            let gain = oracle? - carried?;
            if gain > 0.0 { Ok((generated? - carried?) / gain) } else { Err(Undefined::NotFinite) }
        };
        vec![generated, carried, oracle, closed()]
    });
    let mut found = found.into_iter().map(Figure::from);
    let mut next = || found.next().unwrap_or_else(unknown);
    Ok(OracleGap { generated: next(), carried: next(), oracle: next(), closed: next() })
}

/// Pearson's, by weight; none where one side does not vary.
fn pearson(points: impl Iterator<Item = (f64, f64, f64)> + Clone) -> Result<f64, Undefined> {
    let total = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        points.clone().map(|(x, y, w)| w * of(x, y)).sum()
    };
    let n = total(&|_, _| 1.0);
    let (mx, my) = (total(&|x, _| x) / n, total(&|_, y| y) / n);
    let (xx, yy) = (total(&|x, _| (x - mx).powi(2)), total(&|_, y| (y - my).powi(2)));
    let xy = total(&|x, y| (x - mx) * (y - my));
    let size = (xx * yy).sqrt();
    if size > 1e-12 * n { Ok(xy / size) } else { Err(Undefined::Empty) }
}

fn correlation(drawn: &Patients, looks: &[Look], k: usize, pick: Pick) -> Figure {
    let points: Vec<Option<(f64, f64)>> = looks.iter().map(|one| pick(one, k)).collect();
    let weighed = |weights: &[f64]| {
        let known = points.iter().zip(weights).filter(|(_, w)| **w > 0.0);
        pearson(known.filter_map(|(point, w)| point.map(|(x, y)| (x, y, *w))))
    };
    drawn.estimate(weighed).into()
}

/// The mean over the severities of the correlation of what is left when each stay's mean is taken
/// off.
fn course(drawn: &Patients, looks: &[Look], pick: Pick) -> Figure {
    let n = read_outs().len();
    let mut points = vec![vec![None; looks.len()]; n];
    for (k, points) in points.iter_mut().enumerate() {
        let mut start = 0;
        for run in looks.chunk_by(|a, b| a.stay == b.stay) {
            let known: Vec<(f64, f64)> = run.iter().filter_map(|one| pick(one, k)).collect();
            let m = known.len().max(1) as f64;
            let (mx, my) = known.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / m, b + y / m));
            for (place, one) in points[start..].iter_mut().zip(run) {
                *place = pick(one, k).map(|(x, y)| (x - mx, y - my));
            }
            start += run.len();
        }
    }
    let weighed = |weights: &[f64]| {
        let of = |points: &Vec<Option<(f64, f64)>>| {
            let known = points.iter().zip(weights).filter(|(_, w)| **w > 0.0);
            pearson(known.filter_map(|(point, w)| point.map(|(x, y)| (x, y, *w)))).ok()
        };
        let known: Vec<f64> = points.iter().filter_map(of).collect();
        match known.len() {
            0 => Err(Undefined::Empty),
            n => Ok(known.iter().sum::<f64>() / n as f64),
        }
    };
    drawn.estimate(weighed).into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::look::Read;
    use super::*;
    use crate::ids::StayId;

    /// Six stays of five windows; the truth rises in each, the generated film follows it half-way,
    /// the carried one stays. Three stays end in death, which the oracle's risk tells.
    pub(in crate::evaluate) fn looks() -> Vec<Look> {
        let read = |mortality: f64, severity: f64| Read {
            mortality,
            severities: vec![severity; read_outs().len()],
            features: vec![severity, mortality, severity * mortality],
        };
        let mut all = Vec::new();
        for stay in 0..6u64 {
            let died = stay % 2 == 0;
            for hour in 0..5u64 {
                let noise = ((stay * 7 + hour * 5) % 9) as f64 / 40.0;
                let truth = 0.1 * stay as f64 + 0.05 * hour as f64;
                let (risk, ill) = (if died { 0.6 } else { 0.5 }, f64::from(u8::from(died)));
                all.push(Look {
                    window: all.len(),
                    stay: StayId(stay),
                    film_age_h: 8.0 * hour as f64,
                    died: Some(died),
                    generated: read(risk + noise, truth + noise),
                    carried: read(0.5 + noise, 0.1 * stay as f64),
                    oracle: Some(OracleRead {
                        read: read(0.3 + 0.4 * ill, truth),
                        generated_latent: 0.5,
                        carried_latent: 1.0,
                        generated_film: 0.05,
                        carried_film: 0.08,
                        truth: vec![truth; read_outs().len()],
                        step: Some(0.2),
                    }),
                    real_features: vec![truth, risk, noise],
                    lung_overlap: 0.9,
                    sharpness: 1.0,
                    ehr_effect: Some(0.2),
                    change: 0.3,
                    step: Some(0.1),
                });
            }
        }
        all
    }

    fn value(figure: &Figure) -> f64 {
        figure.known().unwrap().value
    }

    #[test]
    fn half_the_way_is_half_closed_and_a_course_is_followed() {
        let options = EvaluateOptions { replicates: 20, seed: 1 };
        let told = against_truth(&looks(), options).unwrap().unwrap();
        assert_eq!(told.distances.len(), 4, "overall and the ages that occur");
        assert!(told.distances.iter().all(|one| (value(&one.closed) - 0.5).abs() < 1e-12));
        let windows: usize = told.distances[1..].iter().map(|one| one.windows).sum();
        assert_eq!((windows, told.distances[0].windows), (30, 30));
        for one in &told.severities {
            assert!((value(&one.oracle) - 1.0).abs() < 1e-9);
            assert!(value(&one.generated) > value(&one.carried) - 0.1);
        }
        assert!((value(&told.course_oracle) - 1.0).abs() < 1e-9);
        assert!(value(&told.course_generated) > 0.3);
        // What is carried forward does not move within a stay.
        assert_eq!(told.course_carried.known(), None);
        assert!((value(&told.auprc.oracle) - 1.0).abs() < 1e-12);
        let (closed, gap) = (value(&told.auprc.closed), &told.auprc);
        let by_hand = (value(&gap.generated) - value(&gap.carried))
            / (value(&gap.oracle) - value(&gap.carried));
        assert!((closed - by_hand).abs() < 1e-12 && closed > 0.0);
    }

    #[test]
    fn without_outcomes_or_truth_nothing_is_made_up() {
        let options = EvaluateOptions { replicates: 5, seed: 1 };
        let mut all = looks();
        all.iter_mut().for_each(|one| one.died = None);
        let told = against_truth(&all, options).unwrap().unwrap();
        assert_eq!(told.auprc.closed.known(), None);
        all.iter_mut().for_each(|one| one.oracle = None);
        assert_eq!(against_truth(&all, options).unwrap(), None);
    }
}

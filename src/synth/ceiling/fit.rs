//! The measurement: simulate, regress the severities on film pairs, fit the readers, compare.

use super::features::{N_FINDINGS, N_SIGNS, Seen, Simulated};
use super::linear::{Matrix, Scaler, Weights, at, ridge};
use super::twins::{QUICK, Reader, THOROUGH, TwinScore, Twins, WIDE, difference, quadratic, score};
use super::{Ceiling, CeilingOptions, Explained, THRESHOLDS};
use crate::event::risk::N_PHENOTYPES;
use crate::metrics::{Estimate, Patients, Ranked, Undefined};
use crate::synth::hospital::Hospital;
use crate::synth::physiology::LATENT_NAMES;
use crate::synth::{MAX_PATIENTS, SynthError};

/// The landmark, hours after admission, and how long before admission a film may lie.
const LANDMARK: f64 = 48.0;
const FILM_FROM: f64 = -24.0;
/// A pair's films lie farther apart than the first and nearer than the second
/// (`reference/ddl-cxr.md` 1.4), and the chart must have run for some hours by the later one.
const PAIR_GAP: (f64, f64) = (12.0, 70.0);
const PAIR_CHART: f64 = 6.0;
/// Pairs used of one stay, as in training.
const PAIRS_PER_STAY: usize = 12;
/// Penalties tried by the regression of severities, chosen on a tenth of the pairs.
const PENALTIES: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];

/// One stay at the landmark.
struct Window {
    stay: u64,
    died: bool,
    phenotypes: [bool; N_PHENOTYPES],
    film: Seen,
    now: [f64; N_FINDINGS],
    chart: Vec<f64>,
    since: Vec<f64>,
    /// Columns of the severity regression.
    inputs: Vec<f64>,
}

/// Film pairs: the columns known at the later film, and what it shows.
struct Pairs {
    n: usize,
    x: Matrix,
    targets: [Vec<f64>; N_FINDINGS],
}

/// Regression of the severities, one linear function each.
struct Regression {
    scaler: Scaler,
    weights: Vec<Weights>,
}

fn failed(what: &str) -> SynthError {
    SynthError::Options(format!("{what}; ask for more stays"))
}

fn undefined(why: Undefined) -> SynthError {
    failed(&format!("the ceiling cannot be scored: {why}"))
}

/// Columns of the severity regression: chart, change since the film, and products of what changed
/// with what the film showed.
fn inputs(chart: &[f64], since: &[f64], shows: &[f64; N_FINDINGS]) -> Vec<f64> {
    let moved = (0..N_SIGNS).map(|sign| since[2 * sign]);
    let age = since[2 * N_SIGNS];
    let core: Vec<f64> = moved.chain([age]).chain(shows.iter().copied()).collect();
    let mut row = chart.to_vec();
    row.extend_from_slice(since);
    quadratic(&core, &mut row);
    row
}

impl Window {
    /// The stay at 48 h, if the published cohort has it: longer than that, with a film to see.
    fn of(stay: &Simulated) -> Option<Self> {
        if stay.los <= LANDMARK {
            return None;
        }
        let film = stay.last_film(LANDMARK).filter(|film| film.taken >= FILM_FROM)?;
        let (chart, since) = (stay.chart(LANDMARK), stay.since(film.taken, LANDMARK));
        Some(Window {
            stay: stay.number,
            died: stay.died,
            phenotypes: stay.phenotypes,
            film,
            now: stay.truth(LANDMARK),
            inputs: inputs(&chart, &since, &film.shows),
            chart,
            since,
        })
    }
}

impl Pairs {
    fn add(&mut self, stay: &Simulated) {
        let mut found = Vec::new();
        for (i, first) in stay.films.iter().enumerate() {
            for second in &stay.films[i + 1..] {
                let gap = second.taken - first.taken;
                let wide = gap > PAIR_GAP.0 && gap <= PAIR_GAP.1;
                if wide && second.taken >= PAIR_CHART {
                    found.push((first, second));
                }
            }
        }
        let n = found.len();
        for (i, (first, second)) in found.into_iter().enumerate() {
            // Spread evenly over a stay that has more than its share.
            if n > PAIRS_PER_STAY && (i + 1) * PAIRS_PER_STAY / n == i * PAIRS_PER_STAY / n {
                continue;
            }
            let (from, to) = (first.taken, second.taken);
            let row = inputs(&stay.chart(to), &stay.since(from, to), &first.shows);
            self.x.columns = row.len();
            self.x.push(&row);
            self.targets.iter_mut().zip(second.shows).for_each(|(t, value)| t.push(value));
            self.n += 1;
        }
    }

    /// Fitted on nine tenths under each penalty, the best on the last tenth fitted on all.
    fn regress(&self) -> Option<Regression> {
        let scaler = Scaler::of(&self.x);
        let x = scaler.apply(&self.x);
        let (mut inside, mut outside) = (Matrix::new(x.columns), Matrix::new(x.columns));
        for (i, row) in x.rows().enumerate() {
            if i % 10 == 9 { outside.push(row) } else { inside.push(row) }
        }
        let part = |test: bool| -> Vec<Vec<f64>> {
            let pick = |t: &Vec<f64>| {
                t.iter()
                    .enumerate()
                    .filter(|(i, _)| (i % 10 == 9) == test)
                    .map(|(_, v)| *v)
                    .collect()
            };
            self.targets.iter().map(pick).collect()
        };
        let (known, asked) = (part(false), part(true));
        let mut best: Option<(f64, f64)> = None;
        for lambda in PENALTIES {
            let known: Vec<&[f64]> = known.iter().map(Vec::as_slice).collect();
            let weights = ridge(&inside, &known, lambda)?;
            let error: f64 = weights
                .iter()
                .zip(&asked)
                .map(|(weights, asked)| {
                    outside
                        .rows()
                        .zip(asked)
                        .map(|(row, y)| (at(weights, row) - y).powi(2))
                        .sum::<f64>()
                })
                .sum();
            if best.is_none_or(|(least, _)| error < least) {
                best = Some((error, lambda));
            }
        }
        let all: Vec<&[f64]> = self.targets.iter().map(Vec::as_slice).collect();
        let weights = ridge(&x, &all, best?.1)?;
        Some(Regression { scaler, weights })
    }
}

impl Regression {
    fn all(&self, windows: &[Window]) -> Vec<[f64; N_FINDINGS]> {
        let mut x = Matrix::new(windows.first().map_or(0, |w| w.inputs.len()));
        windows.iter().for_each(|window| x.push(&window.inputs));
        let x = self.scaler.apply(&x);
        x.rows()
            .map(|row| std::array::from_fn(|i| at(&self.weights[i], row).clamp(0.0, 1.0)))
            .collect()
    }
}

/// A simple least-squares map from one set of severities to another, fitted on the training
/// windows: what carrying forward can do at best.
fn affine(
    from: &dyn Fn(&Window) -> Vec<f64>,
    train: &[Window],
    test: &[Window],
) -> Option<Vec<[f64; N_FINDINGS]>> {
    let matrix = |windows: &[Window]| {
        let mut x = Matrix::new(windows.first().map_or(0, |w| from(w).len()));
        windows.iter().for_each(|window| x.push(&from(window)));
        x
    };
    let raw = matrix(train);
    let scaler = Scaler::of(&raw);
    let targets: Vec<Vec<f64>> =
        (0..N_FINDINGS).map(|i| train.iter().map(|w| w.now[i]).collect()).collect();
    let targets: Vec<&[f64]> = targets.iter().map(Vec::as_slice).collect();
    let weights = ridge(&scaler.apply(&raw), &targets, 1.0)?;
    let x = scaler.apply(&matrix(test));
    Some(x.rows().map(|row| std::array::from_fn(|i| at(&weights[i], row))).collect())
}

/// R² of guesses at the severities of now.
fn explained(windows: &[Window], guesses: &[[f64; N_FINDINGS]]) -> Explained {
    let r2 = |picked: &[usize], findings: std::ops::Range<usize>| {
        let (mut wrong, mut spread) = (0.0, 0.0);
        for i in findings {
            let truth = || picked.iter().map(|&w| windows[w].now[i]);
            let mean = truth().sum::<f64>() / picked.len().max(1) as f64;
            spread += truth().map(|x| (x - mean).powi(2)).sum::<f64>();
            wrong +=
                picked.iter().map(|&w| (windows[w].now[i] - guesses[w][i]).powi(2)).sum::<f64>();
        }
        1.0 - wrong / spread
    };
    let all: Vec<usize> = (0..windows.len()).collect();
    let stale = |&w: &usize| LANDMARK - windows[w].film.taken >= 24.0;
    let old: Vec<usize> = all.iter().copied().filter(stale).collect();
    Explained {
        pooled: r2(&all, 0..N_FINDINGS),
        by_finding: (0..N_FINDINGS)
            .map(|i| (LATENT_NAMES[i].to_owned(), r2(&all, i..i + 1)))
            .collect(),
        from_24h: r2(&old, 0..N_FINDINGS),
    }
}

/// Simulates stays of one ward until `wanted` windows are there; adds pairs where they are wanted.
fn gather(
    (hospital, seed): (Hospital, u64),
    wanted: usize,
    mut pairs: Option<&mut Pairs>,
    told: &mut dyn FnMut(),
) -> Result<Vec<Window>, SynthError> {
    let mut windows = Vec::with_capacity(wanted);
    for number in 0..MAX_PATIENTS {
        if windows.len() == wanted {
            return Ok(windows);
        }
        let stay = Simulated::new(hospital, seed, number);
        // Outcomes are wanted of every stay to predict, of training stays only where labelled.
        let usable = pairs.is_none() || hospital.is_labelled(number);
        windows.extend(Window::of(&stay).filter(|_| usable));
        if let Some(pairs) = pairs.as_deref_mut() {
            pairs.add(&stay);
        }
        told();
    }
    Err(failed(&format!("{MAX_PATIENTS} patients hold only {} such stays", windows.len())))
}

/// The readers' columns.
struct Readers {
    chart_only: Reader,
    carried: Reader,
    /// The same with every column of the severity regression.
    carried_wide: Reader,
    regressed: Reader,
    oracle: Reader,
}

/// Of a window and the severities guessed for it: the columns to read as they are, and the sets of
/// severities to read with their squares and products.
type More<'a> = dyn Fn(&Window, &[f64; N_FINDINGS]) -> (Vec<f64>, Vec<Vec<f64>>) + 'a;

impl Readers {
    fn new(train: &[Window], test: &[Window], guessed: [&[[f64; N_FINDINGS]]; 2]) -> Self {
        let reader = |more: &More<'_>| {
            let mut from = 0;
            let mut matrix = |windows: &[Window], guessed: &[[f64; N_FINDINGS]]| {
                let mut x = Matrix::default();
                for (window, guess) in windows.iter().zip(guessed) {
                    let (mut row, severities) = more(window, guess);
                    from = row.len();
                    severities.iter().for_each(|s| quadratic(s, &mut row));
                    x.columns = row.len();
                    x.push(&row);
                }
                x
            };
            let (train, test) = (matrix(train, guessed[0]), matrix(test, guessed[1]));
            Reader { train, test, severities_from: from }
        };
        let chart = |w: &Window| w.chart.clone();
        let both = |w: &Window| [w.chart.as_slice(), w.since.as_slice()].concat();
        Readers {
            chart_only: reader(&|w, _| (chart(w), vec![])),
            carried: reader(&|w, _| (both(w), vec![w.film.shows.to_vec()])),
            carried_wide: reader(&|w, _| (w.inputs.clone(), vec![w.film.shows.to_vec()])),
            regressed: reader(&|w, g| (both(w), vec![w.film.shows.to_vec(), g.to_vec()])),
            oracle: reader(&|w, _| (both(w), vec![w.film.shows.to_vec(), w.now.to_vec()])),
        }
    }

    fn all(&self) -> [&Reader; 4] {
        [&self.chart_only, &self.carried, &self.regressed, &self.oracle]
    }
}

pub(super) fn measure(
    options: &CeilingOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Ceiling, SynthError> {
    let about = (options.labelled * 6 + options.tested * 3 / 2) as u64;
    let mut done = 0;
    let mut told = || {
        done += 1;
        progress(done, about);
    };
    let mut pairs =
        Pairs { n: 0, x: Matrix::default(), targets: std::array::from_fn(|_| Vec::new()) };
    let ward = (options.hospital, options.seed);
    let train = gather(ward, options.labelled, Some(&mut pairs), &mut told)?;
    let test = gather((options.hospital, options.test_seed), options.tested, None, &mut told)?;
    let regression = pairs.regress().ok_or_else(|| failed("too few film pairs"))?;
    let (seen, guessed) = (regression.all(&train), regression.all(&test));
    let readers = Readers::new(&train, &test, [&seen, &guessed]);
    let fitted = |what: Option<Vec<[f64; N_FINDINGS]>>| what.ok_or_else(|| failed("a fit failed"));
    let carried = fitted(affine(&|w| w.film.shows.to_vec(), &train, &test))?;
    let chart = fitted(affine(&|w| w.chart.clone(), &train, &test))?;
    let unchanged: Vec<[f64; N_FINDINGS]> = test.iter().map(|w| w.film.shows).collect();
    let ids: Vec<u64> = test.iter().map(|w| w.stay).collect();
    let patients = Patients::new(&ids, vec![1.0; ids.len()], options.replicates, options.seed)
        .map_err(undefined)?;
    let (mortality, gains) = mortality(&readers, &train, &test, &patients)?;
    let (phenotypes, phenotype_gain) = phenotypes(&readers, &train, &test, &patients)?;
    let mut ceiling = Ceiling {
        seed: options.seed,
        test_seed: options.test_seed,
        labelled_stays: train.len(),
        tested_stays: test.len(),
        deaths_trained: train.iter().filter(|w| w.died).count(),
        deaths_tested: test.iter().filter(|w| w.died).count(),
        film_pairs: pairs.n,
        pairs_per_labelled_stay: pairs.n as f64 / train.len() as f64,
        r2_carried: explained(&test, &carried),
        r2_unchanged: explained(&test, &unchanged),
        r2_chart_only: explained(&test, &chart),
        r2_regressed: explained(&test, &guessed),
        mortality,
        phenotypes,
        regressed_over_carried: gains[0],
        oracle_over_carried: gains[1],
        phenotypes_regressed_over_carried: phenotype_gain,
        thresholds: THRESHOLDS,
        missed: Vec::new(),
    };
    ceiling.missed = missed(&ceiling);
    Ok(ceiling)
}

/// Which thresholds a ceiling misses, in words.
fn missed(ceiling: &Ceiling) -> Vec<String> {
    let t = THRESHOLDS;
    let least = [
        ("oracle over carried", ceiling.oracle_over_carried.value, t.oracle_over_carried),
        ("regressed over carried", ceiling.regressed_over_carried.value, t.regressed_over_carried),
        ("R² regressed", ceiling.r2_regressed.pooled, t.r2_regressed),
        ("pairs per labelled stay", ceiling.pairs_per_labelled_stay, t.pairs_per_labelled_stay),
    ];
    let mut missed: Vec<String> = least
        .into_iter()
        .filter(|(_, found, wanted)| found < wanted)
        .map(|(what, found, wanted)| format!("{what} is {found:.3}, less than {wanted}"))
        .collect();
    let carried = ceiling.r2_carried.pooled.max(ceiling.r2_unchanged.pooled);
    if carried > t.r2_carried {
        missed.push(format!("R² carried is {carried:.3}, more than {}", t.r2_carried));
    }
    missed
}

fn mortality(
    readers: &Readers,
    train: &[Window],
    test: &[Window],
    patients: &Patients,
) -> Result<(Twins, [Estimate; 2]), SynthError> {
    let known: Vec<bool> = train.iter().map(|w| w.died).collect();
    let asked: Vec<bool> = test.iter().map(|w| w.died).collect();
    let fit = |reader: &Reader, search| {
        reader.scores(&known, search).ok_or_else(|| failed("a reader cannot be fitted"))
    };
    let mut all = Vec::new();
    for reader in readers.all() {
        all.push(fit(reader, THOROUGH)?);
    }
    // The second reader may have all columns of the regression, should they serve it better.
    let wide = fit(&readers.carried_wide, WIDE)?;
    if wide.1 < all[1].1 {
        all[1] = wide;
    }
    let [chart, carried, regressed, oracle] = [0, 1, 2, 3].map(|i: usize| all[i].0.as_slice());
    let one = |scores: &[f64]| score(patients, scores, &asked).map_err(undefined);
    let prevalence = Ranked::new(chart, &asked)
        .and_then(|ranked| ranked.prevalence(patients.weights()))
        .map_err(undefined)?;
    let gain = |better| difference(patients, [better, carried], &asked).map_err(undefined);
    let twins = Twins {
        prevalence,
        chart_only: one(chart)?,
        carried: one(carried)?,
        regressed: one(regressed)?,
        oracle: one(oracle)?,
    };
    Ok((twins, [gain(regressed)?, gain(oracle)?]))
}

fn macro_mean(
    ranked: &[Ranked],
    figure: &dyn Fn(&Ranked) -> Result<f64, Undefined>,
) -> Result<f64, Undefined> {
    let all: Result<Vec<f64>, Undefined> = ranked.iter().map(figure).collect();
    all.map(|all| all.iter().sum::<f64>() / all.len().max(1) as f64)
}

/// Macro means over the phenotypes that occur on both sides, and the paired gain of the regressed
/// severities over the last film's.
fn phenotypes(
    readers: &Readers,
    train: &[Window],
    test: &[Window],
    patients: &Patients,
) -> Result<(Twins, Estimate), SynthError> {
    let mut truths = Vec::new();
    for phenotype in 0..N_PHENOTYPES {
        let of = |windows: &[Window]| -> Vec<bool> {
            windows.iter().map(|w| w.phenotypes[phenotype]).collect()
        };
        let (known, asked) = (of(train), of(test));
        let mixed = |labels: &[bool]| labels.contains(&true) && labels.contains(&false);
        if mixed(&known) && mixed(&asked) {
            truths.push((known, asked));
        }
    }
    let mut all: Vec<Vec<Ranked>> = Vec::new();
    for reader in readers.all() {
        let mut ranked = Vec::new();
        for (known, asked) in &truths {
            let fitted = reader.scores(known, QUICK);
            let (scores, _) = fitted.ok_or_else(|| failed("a reader cannot be fitted"))?;
            ranked.push(Ranked::new(&scores, asked).map_err(undefined)?);
        }
        all.push(ranked);
    }
    let auprc =
        |ranked: &[Ranked], weights: &[f64]| macro_mean(ranked, &|ranked| ranked.auprc(weights));
    let gain = patients.estimate(|w| Ok(auprc(&all[2], w)? - auprc(&all[1], w)?));
    let mut scores: Vec<TwinScore> = Vec::new();
    for ranked in &all {
        let found = patients.estimate(|weights| auprc(ranked, weights)).map_err(undefined)?;
        let auroc = macro_mean(ranked, &|ranked| ranked.auroc(patients.weights()));
        scores.push(TwinScore { auprc: found, auroc: auroc.map_err(undefined)? });
    }
    let positives: usize =
        truths.iter().map(|(_, asked)| asked.iter().filter(|y| **y).count()).sum();
    let twins = Twins {
        prevalence: positives as f64 / (truths.len() * test.len()).max(1) as f64,
        chart_only: scores[0],
        carried: scores[1],
        regressed: scores[2],
        oracle: scores[3],
    };
    Ok((twins, gain.map_err(undefined)?))
}

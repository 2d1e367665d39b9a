//! What the proof's twins came to (`nowcxr train proof`): average precision of death and of the
//! phenotypes, paired differences, and how near the generated latent comes to the film of now.
//!
//! With several training seeds a figure is the mean over them, and its interval comes of drawing
//! the patients, who are the same for all seeds, anew: the spread between seeds is shown by the
//! seeds' own values beside it.

use serde::Serialize;

use crate::event::risk::N_PHENOTYPES;
use crate::metrics::{Estimate, Patients, Ranked, Undefined};
use crate::train::{Judged, SeedProof, Twin};

/// From this age of the last film on it counts as old, in hours.
pub const OLD_H: f64 = 24.0;

/// Pairs of twins whose difference is reported: the first less the second.
const DIFFERENCES: [(Twin, Twin); 10] = [
    (Twin::Generated, Twin::CarryForward),
    (Twin::Generated, Twin::EhrOnly),
    (Twin::Generated, Twin::Swapped),
    (Twin::CarryForward, Twin::EhrOnly),
    (Twin::Oracle, Twin::CarryForward),
    (Twin::Generated, Twin::NoReference),
    (Twin::Generated, Twin::NoEhr),
    (Twin::Generated, Twin::NoContrastive),
    (Twin::Generated, Twin::NoAuxiliary),
    (Twin::Generated, Twin::NoEhrAtAll),
];

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct ProofReport {
    pub seeds: Vec<u64>,
    /// Labelled stays and film pairs that the first seed learnt from.
    pub labelled: usize,
    pub pairs: usize,
    /// All stays, and those whose last film was old if figures exist of them.
    pub strata: Vec<Stratum>,
    /// All stays, by twins that learnt from fewer labelled ones, fewest first.
    pub curve: Vec<CurvePoint>,
}

/// The learning curve at one number of labelled stays.
#[derive(Clone, Debug, Serialize)]
pub struct CurvePoint {
    pub labelled: usize,
    pub mortality: Outcome,
    pub phenotypes: Outcome,
}

/// Figures on one set of stays.
#[derive(Clone, Debug, Serialize)]
pub struct Stratum {
    pub name: &'static str,
    pub stays: usize,
    pub deaths: usize,
    pub mortality: Outcome,
    /// Macro means over the phenotypes that occur.
    pub phenotypes: Outcome,
    /// 1 − distance generated / distance carried, to the latent of the film of now.
    pub nearer: Estimate,
}

/// Average precision of one outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub prevalence: f64,
    pub twins: Vec<TwinFigure>,
    pub differences: Vec<Difference>,
    /// (generated − carried) / (oracle − carried); `None` where the oracle gains nothing.
    pub gap_closed: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TwinFigure {
    pub twin: Twin,
    pub auprc: Estimate,
    pub by_seed: Vec<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub better: Twin,
    pub worse: Twin,
    pub auprc: Estimate,
    pub by_seed: Vec<f64>,
}

/// Average precisions of one seed and twin, one for each output that occurs.
type Scores = Vec<Ranked>;

/// Judges the seeds' windows, which must be of the same stays.
///
/// # Errors
/// [`Undefined`] without stays or where nobody died or everybody did.
pub fn judge(proofs: &[SeedProof], replicates: usize, seed: u64) -> Result<ProofReport, Undefined> {
    let first = proofs.first().ok_or(Undefined::Empty)?;
    let mut strata = Vec::with_capacity(2);
    for (name, oldest) in [("all stays", 0.0), ("last film at least 24 h old", OLD_H)] {
        let keep = |w: &&Judged| w.age_h >= oldest;
        let seeds: Vec<Vec<&Judged>> =
            proofs.iter().map(|proof| proof.windows.iter().filter(keep).collect()).collect();
        match stratum(name, &seeds, replicates, seed) {
            Ok(stratum) => strata.push(stratum),
            // Too few for figures of their own.
            Err(Undefined::Empty | Undefined::OneClass) if !strata.is_empty() => {}
            Err(undefined) => return Err(undefined),
        }
    }
    let curve = first.curve.iter().map(|fewer| {
        let seeds: Option<Vec<Vec<&Judged>>> =
            proofs.iter().map(|proof| learnt_from(proof, fewer.labelled)).collect();
        let seeds = seeds.ok_or(Undefined::Lengths)?;
        let stratum = stratum("learning curve", &seeds, replicates, seed)?;
        let Stratum { mortality, phenotypes, .. } = stratum;
        Ok(CurvePoint { labelled: fewer.labelled, mortality, phenotypes })
    });
    let mut curve: Vec<CurvePoint> = curve.collect::<Result<_, Undefined>>()?;
    curve.sort_by_key(|point| point.labelled);
    Ok(ProofReport {
        seeds: proofs.iter().map(|proof| proof.seed).collect(),
        labelled: first.labelled,
        pairs: first.pairs,
        strata,
        curve,
    })
}

/// The stays as the twins saw them that learnt from so many labelled ones.
fn learnt_from(proof: &SeedProof, labelled: usize) -> Option<Vec<&Judged>> {
    let fewer = proof.curve.iter().find(|fewer| fewer.labelled == labelled)?;
    Some(fewer.windows.iter().collect())
}

fn stratum(
    name: &'static str,
    seeds: &[Vec<&Judged>],
    replicates: usize,
    seed: u64,
) -> Result<Stratum, Undefined> {
    let stays = seeds.first().ok_or(Undefined::Empty)?;
    let ids: Vec<u64> = stays.iter().map(|w| w.stay).collect();
    if seeds.iter().any(|other| !other.iter().map(|w| w.stay).eq(ids.iter().copied())) {
        return Err(Undefined::Lengths);
    }
    let patients = Patients::new(&ids, vec![1.0; ids.len()], replicates, seed)?;
    let died: Vec<bool> = stays.iter().map(|w| w.died).collect();
    let of_death = |w: &Judged, twin, _| w.mortality.get(&twin).copied();
    let of_phenotype = |w: &Judged, twin, k: usize| {
        w.phenotype.get(&twin).and_then(|logits| logits.get(k)).copied()
    };
    let had = |k: usize| stays.iter().map(|w| w.phenotypes[k]).collect::<Vec<bool>>();
    let occur: Vec<(usize, Vec<bool>)> = (0..N_PHENOTYPES)
        .map(|k| (k, had(k)))
        .filter(|(_, truth)| truth.contains(&true) && truth.contains(&false))
        .collect();
    let nearer = patients.estimate(|weights| {
        let sum = |of: fn(&Judged) -> f64| -> f64 {
            seeds.iter().flat_map(|s| s.iter().zip(weights)).map(|(w, x)| of(w) * x).sum()
        };
        Ok(1.0 - sum(|w| w.generated_mse) / sum(|w| w.carried_mse))
    })?;
    Ok(Stratum {
        name,
        stays: ids.len(),
        deaths: died.iter().filter(|&&died| died).count(),
        mortality: outcome(&patients, seeds, &[(0, died)], &of_death)?,
        phenotypes: outcome(&patients, seeds, &occur, &of_phenotype)?,
        nearer,
    })
}

fn outcome(
    patients: &Patients,
    seeds: &[Vec<&Judged>],
    outputs: &[(usize, Vec<bool>)],
    logit: &dyn Fn(&Judged, Twin, usize) -> Option<f32>,
) -> Result<Outcome, Undefined> {
    let ranked = |windows: &[&Judged], twin| -> Result<Scores, Undefined> {
        let of = |(k, truth): &(usize, Vec<bool>)| {
            let logits: Option<Vec<f32>> = windows.iter().map(|w| logit(w, twin, *k)).collect();
            Ranked::new(&logits.ok_or(Undefined::Lengths)?, truth)
        };
        outputs.iter().map(of).collect()
    };
    // Whoever was asked of all stays and seeds.
    let asked = |twin: &Twin| seeds.iter().flatten().all(|w| w.mortality.contains_key(twin));
    let twins: Vec<Twin> = Twin::ALL.into_iter().filter(asked).collect();
    let pairs: Vec<(Twin, Twin)> = DIFFERENCES
        .into_iter()
        .filter(|(better, worse)| twins.contains(better) && twins.contains(worse))
        .collect();
    let all: Vec<Vec<Scores>> = twins
        .iter()
        .map(|&twin| seeds.iter().map(|windows| ranked(windows, twin)).collect())
        .collect::<Result<_, _>>()?;
    let place = |twin: Twin| twins.iter().position(|&t| t == twin);
    let by_seed = |twin| -> Result<Vec<f64>, Undefined> {
        let scores = all.get(place(twin).ok_or(Undefined::Empty)?).ok_or(Undefined::Empty)?;
        scores.iter().map(|scores| auprc(scores, patients.weights())).collect()
    };
    // All twins of one resample at once: its draws are made once, and the differences are paired.
    let estimates = patients.estimates(|weights| {
        let figures: Vec<_> = all
            .iter()
            .map(|scores| mean(scores.iter().map(|scores| auprc(scores, weights))))
            .collect();
        let of = |twin| place(twin).map_or(Err(Undefined::Empty), |place| figures[place]);
        let less = |(better, worse): &(Twin, Twin)| Ok(of(*better)? - of(*worse)?);
        let differences: Vec<_> = pairs.iter().map(less).collect();
        figures.into_iter().chain(differences).collect()
    });
    let estimates: Vec<Estimate> = estimates.into_iter().collect::<Result<_, _>>()?;
    let (of_twins, of_differences) = estimates.split_at(twins.len());
    let figures = twins
        .iter()
        .zip(of_twins)
        .map(|(&twin, &auprc)| Ok(TwinFigure { twin, auprc, by_seed: by_seed(twin)? }));
    let differences = pairs.iter().zip(of_differences).map(|(&(better, worse), &auprc)| {
        let both = by_seed(better)?.into_iter().zip(by_seed(worse)?);
        Ok(Difference { better, worse, auprc, by_seed: both.map(|(a, b)| a - b).collect() })
    });
    let value = |twin| place(twin).map_or(f64::NAN, |place| of_twins[place].value);
    let gap = value(Twin::Oracle) - value(Twin::CarryForward);
    let gain = value(Twin::Generated) - value(Twin::CarryForward);
    let positives: usize =
        outputs.iter().map(|(_, truth)| truth.iter().filter(|&&yes| yes).count()).sum();
    let asked: usize = outputs.iter().map(|(_, truth)| truth.len()).sum();
    Ok(Outcome {
        prevalence: positives as f64 / asked.max(1) as f64,
        twins: figures.collect::<Result<_, Undefined>>()?,
        differences: differences.collect::<Result<_, Undefined>>()?,
        gap_closed: (gap > 0.0).then(|| gain / gap),
    })
}

/// Macro mean over the outputs.
fn auprc(scores: &[Ranked], weights: &[f64]) -> Result<f64, Undefined> {
    mean(scores.iter().map(|ranked| ranked.auprc(weights)))
}

fn mean(values: impl Iterator<Item = Result<f64, Undefined>>) -> Result<f64, Undefined> {
    let values: Vec<f64> = values.collect::<Result<_, _>>()?;
    match values.len() {
        0 => Err(Undefined::Empty),
        n => Ok(values.iter().sum::<f64>() / n as f64),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::metrics;
    use crate::train::Fewer;

    /// A stay whose generated logits follow the outcome by `knows`, the others by less.
    fn judged(stay: u64, seed: u64, knows: f32) -> Judged {
        let of = |n: u64| ((stay * 7_919 + n * 1_299_709) % 997) as f32 / 997.0;
        let noise = |n: u64| of(n + 1_000 * seed);
        let died = stay.is_multiple_of(4);
        let logit = |twin: Twin, n: u64, yes: bool| {
            let knows = match twin {
                Twin::EhrOnly | Twin::Swapped => 0.0,
                Twin::CarryForward => knows / 3.0,
                Twin::Generated => knows,
                Twin::Oracle => knows * 2.0,
                _ => knows / 2.0,
            };
            noise(n + twin as u64) + if yes { knows } else { 0.0 }
        };
        let phenotypes: Vec<bool> = (0..N_PHENOTYPES).map(|k| k < 2 && of(50) < 0.3).collect();
        let asked = |twin: Twin| {
            let logits = (0..N_PHENOTYPES).map(|k| logit(twin, 9 + k as u64, phenotypes[k]));
            (twin, logits.collect::<Vec<f32>>())
        };
        Judged {
            stay,
            age_h: 12.0 + f64::from(of(70)) * 30.0,
            died,
            mortality: Twin::ALL.map(|twin| (twin, logit(twin, 5, died))).into(),
            phenotype: Twin::ALL.map(asked).into(),
            phenotypes,
            generated_mse: 0.5,
            carried_mse: 1.0,
        }
    }

    fn proof(seed: u64, knows: f32) -> SeedProof {
        let windows: Vec<Judged> = (0..400).map(|stay| judged(stay, seed, knows)).collect();
        SeedProof::of_windows(seed, windows)
    }

    #[test]
    fn figures_are_means_over_seeds_and_differences_are_paired() {
        let proofs = [proof(1, 0.6), proof(2, 0.8)];
        let report = judge(&proofs, 200, 1).unwrap();
        let [all, old] = report.strata.as_slice() else { panic!("two strata") };
        assert_eq!((all.stays, all.deaths), (400, 100));
        assert!(old.stays > 100 && old.stays < 300);
        assert!((all.nearer.value - 0.5).abs() < 1e-12);
        let naive = |proof: &SeedProof, twin| {
            let scores: Vec<f32> = proof.windows.iter().map(|w| w.mortality[&twin]).collect();
            let died: Vec<bool> = proof.windows.iter().map(|w| w.died).collect();
            metrics::auprc(&scores, &died).unwrap()
        };
        let by_twin: BTreeMap<Twin, f64> = Twin::ALL
            .map(|twin| (twin, (naive(&proofs[0], twin) + naive(&proofs[1], twin)) / 2.0))
            .into();
        for figure in &all.mortality.twins {
            assert!((figure.auprc.value - by_twin[&figure.twin]).abs() < 1e-12);
            assert_eq!(figure.by_seed.len(), 2);
        }
        let gain = &all.mortality.differences[0];
        let want = by_twin[&Twin::Generated] - by_twin[&Twin::CarryForward];
        assert!((gain.auprc.value - want).abs() < 1e-12 && gain.auprc.is_above_zero());
        let gap = by_twin[&Twin::Oracle] - by_twin[&Twin::CarryForward];
        assert!((all.mortality.gap_closed.unwrap() - want / gap).abs() < 1e-12);
        // Only two phenotypes occur.
        assert!((0.2..0.4).contains(&all.phenotypes.prevalence));
    }

    #[test]
    fn only_who_was_asked_is_told_and_fewer_labels_have_figures_of_their_own() {
        let mut proofs = [proof(1, 0.6), proof(2, 0.8)];
        for (n, proof) in proofs.iter_mut().enumerate() {
            let mut windows = proof.windows.clone();
            for window in &mut windows {
                window.mortality.retain(|twin, _| *twin <= Twin::Generated);
            }
            proof.curve = vec![
                Fewer { labelled: 200, windows: windows.clone() },
                Fewer { labelled: 100, windows },
            ];
            if n == 1 {
                proof
                    .windows
                    .iter_mut()
                    .for_each(|w| w.mortality.retain(|twin, _| *twin != Twin::NoEhr));
            }
        }
        let report = judge(&proofs, 50, 1).unwrap();
        let told = &report.strata[0].mortality;
        let names: Vec<Twin> = told.twins.iter().map(|figure| figure.twin).collect();
        assert_eq!(names.len(), Twin::ALL.len() - 1);
        assert!(!names.contains(&Twin::NoEhr));
        assert!(told.differences.iter().all(|d| d.worse != Twin::NoEhr));
        assert!(told.differences.iter().any(|d| d.worse == Twin::NoReference));
        let labelled: Vec<usize> = report.curve.iter().map(|point| point.labelled).collect();
        assert_eq!(labelled, [100, 200]);
        assert_eq!(report.curve[0].mortality.twins.len(), 3);
        assert_eq!(report.curve[0].mortality.gap_closed, None);
        proofs[1].curve.clear();
        assert_eq!(judge(&proofs, 50, 1).unwrap_err(), Undefined::Lengths);
    }

    #[test]
    fn seeds_of_other_stays_and_no_stays_are_refused() {
        let mut other = proof(2, 0.4);
        other.windows.pop();
        assert_eq!(judge(&[proof(1, 0.3), other], 10, 1).unwrap_err(), Undefined::Lengths);
        assert_eq!(judge(&[], 10, 1).unwrap_err(), Undefined::Empty);
    }
}

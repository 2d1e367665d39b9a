//! The few figures that training needs to judge itself. The full evaluation, with intervals and
//! strata, is not here.

use std::collections::BTreeMap;

/// Area under the ROC curve; ties count half. `None` unless both outcomes occur.
pub fn auroc(scores: &[f32], labels: &[bool]) -> Option<f64> {
    crate::metrics::auroc(scores, labels).ok()
}

/// Average precision; `None` without a positive.
pub fn auprc(scores: &[f32], labels: &[bool]) -> Option<f64> {
    crate::metrics::auprc(scores, labels).ok()
}

/// Half the width of the 95 % interval of an AUROC (Hanley and McNeil).
pub fn auroc_half_width(auroc: f64, positives: usize, negatives: usize) -> f64 {
    let (p, n) = (positives as f64, negatives as f64);
    let (q1, q2) = (auroc / (2.0 - auroc), 2.0 * auroc * auroc / (1.0 + auroc));
    let square = auroc * auroc;
    let var = auroc * (1.0 - auroc) + (p - 1.0) * (q1 - square) + (n - 1.0) * (q2 - square);
    1.96 * (var / (p * n)).max(0.0).sqrt()
}

/// The mean, or NaN of nothing.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    sum / n
}

/// A and b of p = σ(a · logit + b) with the greatest likelihood (Platt), by Newton's method; the
/// identity where there is nothing to fit.
pub fn platt(logits: &[f32], labels: &[bool]) -> (f64, f64) {
    let (mut a, mut b) = (1.0, 0.0);
    let positives = labels.iter().filter(|&&label| label).count();
    if positives == 0 || positives == labels.len() {
        return (a, b);
    }
    for _ in 0..50 {
        // A weak prior around a = 1 keeps a separable set from running away.
        let (mut ga, mut gb) = (0.05 * (a - 1.0), 0.0);
        let (mut haa, mut hab, mut hbb) = (0.05, 0.0, 1e-6);
        for (&logit, &label) in logits.iter().zip(labels) {
            let x = f64::from(logit);
            let p = 1.0 / (1.0 + (-(a * x + b)).exp());
            let off = p - f64::from(u8::from(label));
            let w = p * (1.0 - p);
            (ga, gb) = (ga + off * x, gb + off);
            (haa, hab, hbb) = (haa + w * x * x, hab + w * x, hbb + w);
        }
        let det = haa * hbb - hab * hab;
        if !det.is_finite() || det <= 0.0 {
            return (1.0, 0.0);
        }
        let (da, db) = ((hbb * ga - hab * gb) / det, (haa * gb - hab * ga) / det);
        (a, b) = (a - da.clamp(-1.0, 1.0), b - db.clamp(-1.0, 1.0));
        if da.abs() + db.abs() < 1e-9 {
            break;
        }
    }
    if a.is_finite() && b.is_finite() { (a, b) } else { (1.0, 0.0) }
}

/// Covariance of the (a, b) that [`platt`] found, with the samples of one `group` (a stay) allowed
/// to depend on each other: the sandwich I⁻¹ · (Σ s sᵀ) · I⁻¹, where I is the observed information
/// and s the sum of a group's scores, times G / (G − 1) for G groups (Liang and Zeger 1986).
/// Windows of a stay share its outcome, so without grouping the interval would be too narrow.
/// `None` with fewer than three groups, one outcome only, or an information that has no inverse.
pub fn clustered_covariance(
    logits: &[f32],
    labels: &[bool],
    groups: &[u64],
    (a, b): (f64, f64),
) -> Option<[[f64; 2]; 2]> {
    let (mut haa, mut hab, mut hbb) = (0.0, 0.0, 0.0);
    let mut scores: BTreeMap<u64, [f64; 2]> = BTreeMap::new();
    for ((&logit, &label), &group) in logits.iter().zip(labels).zip(groups) {
        let x = f64::from(logit);
        let p = 1.0 / (1.0 + (-(a * x + b)).exp());
        let (off, w) = (f64::from(u8::from(label)) - p, p * (1.0 - p));
        (haa, hab, hbb) = (haa + w * x * x, hab + w * x, hbb + w);
        let score = scores.entry(group).or_default();
        *score = [score[0] + off * x, score[1] + off];
    }
    let positives = labels.iter().filter(|&&label| label).count();
    let n = scores.len() as f64;
    let det = haa * hbb - hab * hab;
    if scores.len() < 3 || positives == 0 || positives == labels.len() || det <= 1e-12 {
        return None;
    }
    let (mut aa, mut ab, mut bb) = (0.0, 0.0, 0.0);
    for [sa, sb] in scores.into_values() {
        // I⁻¹ s: how far this group alone pulls (a, b).
        let (pa, pb) = ((hbb * sa - hab * sb) / det, (haa * sb - hab * sa) / det);
        (aa, ab, bb) = (aa + pa * pa, ab + pa * pb, bb + pb * pb);
    }
    let [aa, ab, bb] = [aa, ab, bb].map(|sum| sum * n / (n - 1.0));
    [aa, ab, bb].iter().all(|x| x.is_finite()).then_some([[aa, ab], [ab, bb]])
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn auroc_counts_pairs() {
        let labels = [true, false, true, false];
        assert_eq!(auroc(&[0.9, 0.1, 0.8, 0.3], &labels), Some(1.0));
        assert_eq!(auroc(&[0.9, 0.8, 0.1, 0.3], &labels), Some(0.5));
        assert_eq!(auroc(&[0.5; 4], &labels), Some(0.5));
        assert_eq!(auroc(&[0.5; 2], &[true, true]), None);
    }

    #[test]
    fn auprc_of_a_perfect_and_of_a_blind_score() {
        let labels = [true, false, false, false];
        assert_eq!(auprc(&[0.9, 0.1, 0.2, 0.3], &labels), Some(1.0));
        assert_eq!(auprc(&[0.5; 4], &labels), Some(0.25));
    }

    #[test]
    fn platt_finds_the_bias_of_weighted_training() {
        let logits: Vec<f32> = (0..2_000).map(|i| (i % 41) as f32 / 10.0 - 2.0).collect();
        let labels: Vec<bool> = logits
            .iter()
            .enumerate()
            .map(|(i, &x)| {
                let p = 1.0 / (1.0 + (-(2.0 * f64::from(x) - 1.0)).exp());
                ((i / 41) as f64 + 0.5) / 49.0 < p
            })
            .collect();
        let (a, b) = platt(&logits, &labels);
        assert!((a - 2.0).abs() < 0.15 && (b + 1.0).abs() < 0.15, "{a} {b}");
    }

    #[test]
    fn intervals_match_the_published_arithmetic() {
        // `reference/clinical.md` 0.3: 1,483 stays with 219 deaths at .80.
        assert!((auroc_half_width(0.80, 219, 1_264) - 0.036).abs() < 0.002);
    }

    /// Logits drawn evenly, labels from σ(2x − 1); each of `groups` is repeated `copies` times.
    fn drawn(seed: u64, groups: usize, copies: usize) -> (Vec<f32>, Vec<bool>, Vec<u64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut logits, mut labels, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for id in 0..groups as u64 {
            let x: f32 = rng.random_range(-1.5..2.5);
            let p = 1.0 / (1.0 + (-(2.0 * f64::from(x) - 1.0)).exp());
            let label = rng.random::<f64>() < p;
            for _ in 0..copies {
                logits.push(x);
                labels.push(label);
                ids.push(id);
            }
        }
        (logits, labels, ids)
    }

    /// (a, b) and their covariance.
    type Fit = ((f64, f64), [[f64; 2]; 2]);

    #[test]
    fn the_covariance_is_the_scatter_of_repeated_fits() {
        let fits: Vec<_> = (0..300)
            .map(|seed| {
                let (x, y, groups) = drawn(seed, 400, 1);
                let at = platt(&x, &y);
                (at, clustered_covariance(&x, &y, &groups, at).unwrap())
            })
            .collect();
        let over = |f: &dyn Fn(&Fit) -> f64| mean(fits.iter().map(f));
        let (a, b) = (over(&|fit| fit.0.0), over(&|fit| fit.0.1));
        let scatter = [
            over(&|fit| (fit.0.0 - a).powi(2)),
            over(&|fit| (fit.0.0 - a) * (fit.0.1 - b)),
            over(&|fit| (fit.0.1 - b).powi(2)),
        ];
        let said = [over(&|fit| fit.1[0][0]), over(&|fit| fit.1[0][1]), over(&|fit| fit.1[1][1])];
        for (scatter, said) in scatter.into_iter().zip(said) {
            assert!((said / scatter - 1.0).abs() < 0.25, "{scatter} scattered, {said} said");
        }
    }

    #[test]
    fn copies_of_a_stay_tell_nothing_new() {
        let (x, y, groups) = drawn(5, 300, 1);
        let (xs, ys, copied) = drawn(5, 300, 4);
        let at = platt(&x, &y);
        let once = clustered_covariance(&x, &y, &groups, at).unwrap();
        let grouped = clustered_covariance(&xs, &ys, &copied, at).unwrap();
        let alone: Vec<u64> = (0..xs.len() as u64).collect();
        let naive = clustered_covariance(&xs, &ys, &alone, at).unwrap();
        for (i, j) in [(0, 0), (0, 1), (1, 1)] {
            assert!((grouped[i][j] / once[i][j] - 1.0).abs() < 1e-9);
            assert!((naive[i][j] * 4.0 / once[i][j] - 1.0).abs() < 0.01);
        }
        assert_eq!(clustered_covariance(&x[..2], &y[..2], &groups[..2], at), None);
        let one_sided = vec![true; x.len()];
        assert_eq!(clustered_covariance(&x, &one_sided, &groups, at), None);
    }
}

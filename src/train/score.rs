//! The few figures that training needs to judge itself. The full evaluation, with intervals and
//! strata, is not here.

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

#[cfg(test)]
mod tests {
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
}

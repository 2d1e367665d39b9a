//! Binary cross-entropy of logits: the findings of stages 1 and 2, the outcomes of stage 3.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, relu};

/// The cross-entropy of each logit, equation (5) before its mean:
/// −p y log σ(x) − (1 − y) log(1 − σ(x)).
///
/// `logits` and `labels` are `[batch, outputs]`, `positive` is p, `[1, outputs]` or the whole
/// shape, 1 where there is none. Finite for every finite logit: with s = log(1 + e^−|x|),
/// −log σ(x) is max(−x, 0) + s and −log(1 − σ(x)) is max(x, 0) + s.
pub fn binary_cross_entropy(
    logits: Tensor<2>,
    labels: Tensor<2>,
    positive: Option<Tensor<2>>,
) -> Tensor<2> {
    let soft = log_sigmoid(logits.clone().abs()).neg();
    let miss = relu(logits.clone().neg()).add(soft.clone());
    let false_alarm = relu(logits).add(soft);
    let miss = match positive {
        Some(weight) => miss.mul(weight),
        None => miss,
    };
    let absent = labels.clone().neg().add_scalar(1.0);
    miss.mul(labels).add(false_alarm.mul(absent))
}

/// Equation (5), the loss of stage 3 (`reference/ddl-cxr.md` 4.3): the mean over batch and outputs
/// of the cross-entropy with a weight on the positives of each output, `[1]`.
///
/// `logits` and `labels` are `[batch, outputs]`; `positive` has a weight for each output,
/// published as 5.89 for mortality and the 25 of 1.7 for phenotypes.
pub fn weighted_binary_cross_entropy(
    logits: Tensor<2>,
    labels: Tensor<2>,
    positive: Tensor<1>,
) -> Tensor<1> {
    binary_cross_entropy(logits, labels, Some(positive.unsqueeze())).mean()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn it_equals_its_definition_and_never_overflows() {
        let device = Device::flex();
        let x = [-200.0f32, -30.0, -1.5, 0.0, 2.0, 40.0, 3.0, 200.0];
        let y = [0.0f32, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0];
        let column = |values: [f32; 8]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [8, 1]), &device)
        };
        let weight = Some(Tensor::from_data([[2.0]], &device));
        let out = binary_cross_entropy(column(x), column(y), weight);
        let out: Vec<f32> = out.into_data().try_into_vec().expect("f32");
        for ((x, y), got) in x.into_iter().zip(y).zip(out) {
            let soft = (-f64::from(x.abs())).exp().ln_1p();
            let want = match y == 1.0 {
                true => 2.0 * (f64::from(-x).max(0.0) + soft),
                false => f64::from(x).max(0.0) + soft,
            };
            assert!((want - f64::from(got)).abs() <= 1e-6 * want.max(1.0), "{x} {y}: {got}");
        }
    }
}

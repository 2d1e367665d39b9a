//! The number formats of checkpoints, and their way to f32.

/// How a tensor's numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    F32,
    F16,
    Bf16,
    /// Rounded to f32; only single numbers such as a scale factor are ever stored so.
    F64,
    /// Whole numbers and the like, of which no network is made.
    Other,
}

impl Kind {
    /// By the class of a PyTorch storage.
    pub fn of_storage(class: &str) -> Kind {
        match class {
            "torch.FloatStorage" => Kind::F32,
            "torch.HalfStorage" => Kind::F16,
            "torch.BFloat16Storage" => Kind::Bf16,
            "torch.DoubleStorage" => Kind::F64,
            _ => Kind::Other,
        }
    }

    /// By the name in a safetensors file.
    pub fn of_safetensors(name: &str) -> Kind {
        match name {
            "F32" => Kind::F32,
            "F16" => Kind::F16,
            "BF16" => Kind::Bf16,
            "F64" => Kind::F64,
            _ => Kind::Other,
        }
    }

    /// Bytes of one number; none for those that are not read.
    pub fn width(self) -> Option<u64> {
        match self {
            Kind::F32 => Some(4),
            Kind::F16 | Kind::Bf16 => Some(2),
            Kind::F64 => Some(8),
            Kind::Other => None,
        }
    }

    /// Little-endian bytes to numbers. Exact but for f64, which is rounded.
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let pairs = || bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
        match self {
            Kind::F32 => {
                bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
            }
            Kind::F16 => pairs().map(half).collect(),
            Kind::Bf16 => pairs().map(|bits| f32::from_bits(u32::from(bits) << 16)).collect(),
            Kind::F64 => {
                let numbers = bytes.as_chunks::<8>().0.iter();
                numbers.map(|bytes| f64::from_le_bytes(*bytes) as f32).collect()
            }
            Kind::Other => Vec::new(),
        }
    }
}

/// An IEEE half as f32, exactly.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (fraction + 1024.0) * 2f32.powi(exponent - 25),
    }
}

/// A number with 15 significant digits: what JSON readers keep to the last bit whether or not they
/// round correctly, so that a model's files say the same after any number of turns.
pub fn settled(x: f64) -> f64 {
    format!("{x:.14e}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_widen_exactly() {
        let table = [
            (0x0000u16, 0.0f32),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x7c00, f32::INFINITY),
        ];
        for (bits, want) in table {
            let got = Kind::F16.decode(&bits.to_le_bytes());
            assert_eq!(got[0].to_bits(), want.to_bits(), "{bits:#06x}");
        }
        assert!(half(0x7e00).is_nan());
        assert_eq!(Kind::Bf16.decode(&0x3fc0u16.to_le_bytes()), [1.5]);
        assert_eq!(Kind::F64.decode(&0.1f64.to_le_bytes()), [0.1]);
    }

    #[test]
    fn a_settled_number_survives_json_to_the_last_bit() {
        for x in [61.106593596756845, 1.0 / 3.0, 0.182_150_006_294_250_5, -7e-12, 1e300] {
            let settled = settled(x);
            assert!((settled - x).abs() <= 1e-14 * x.abs());
            let text = serde_json::to_string(&settled).expect("json");
            let read: f64 = serde_json::from_str(&text).expect("json");
            assert_eq!(read.to_bits(), settled.to_bits(), "{x}");
        }
    }
}

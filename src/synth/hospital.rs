//! What holds of every patient of a ward: by which physics they fall ill, and in what the
//! hospital differs from the one that a model was made on.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// By which rules latents move, show in the chart and decide the outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Physics {
    /// The ward of the shipped model and of `nowcxr demo`. It is not changed any more: a change
    /// would make the model a stranger to its own ward.
    #[default]
    Demo,
    /// The ward of the proof ([`super::proof`]).
    Proof,
}

/// How another hospital differs. The default is no difference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// Years added to the mean age.
    pub older: f64,
    /// Factor of how grave the illnesses are that patients come with.
    pub sicker: f64,
    /// Factor of the chance that a routine film is taken.
    pub films: f64,
    /// Factor of the hours between two rows of vital signs.
    pub charting: f64,
    /// Factor of the time from a draw to its result.
    pub lag: f64,
    /// Factor of the noise of vital signs.
    pub noise: f64,
    /// Added to the film's gain: a generator set to other values.
    pub exposure: f64,
}

/// A ward's rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hospital {
    pub physics: Physics,
    pub shift: Shift,
}

/// In the proof's ward one stay in this many has an outcome label.
const LABELLED_ONE_IN: u64 = 3;

impl Hospital {
    /// The ward of the proof, unshifted.
    pub fn proof() -> Self {
        Hospital { physics: Physics::Proof, ..Hospital::default() }
    }

    /// Whether the outcome of stay `number` may be used. Where films are many and outcomes few is
    /// where generation can gain: the proof's ward labels one stay in three, the demo's all.
    pub fn is_labelled(&self, number: u64) -> bool {
        self.physics == Physics::Demo || number.is_multiple_of(LABELLED_ONE_IN)
    }
}

impl Default for Shift {
    fn default() -> Self {
        Shift {
            older: 0.0,
            sicker: 1.0,
            films: 1.0,
            charting: 1.0,
            lag: 1.0,
            noise: 1.0,
            exposure: 0.0,
        }
    }
}

impl FromStr for Physics {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "demo" => Ok(Physics::Demo),
            "proof" => Ok(Physics::Proof),
            _ => Err(format!("no ward is called {text}; there are demo and proof")),
        }
    }
}

impl FromStr for Shift {
    type Err = String;

    /// `name=value` pairs with commas between, such as `older=5,films=0.7`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut shift = Shift::default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| format!("{pair} is not name=value"))?;
            let value: f64 =
                value.trim().parse().map_err(|_| format!("{value} in {pair} is no number"))?;
            let (field, range) = match name.trim() {
                "older" => (&mut shift.older, -40.0..=25.0),
                "sicker" => (&mut shift.sicker, 0.2..=2.0),
                "films" => (&mut shift.films, 0.05..=3.0),
                "charting" => (&mut shift.charting, 0.25..=8.0),
                "lag" => (&mut shift.lag, 0.1..=20.0),
                "noise" => (&mut shift.noise, 0.0..=5.0),
                "exposure" => (&mut shift.exposure, -0.4..=0.4),
                other => {
                    return Err(format!(
                        "nothing shifts by the name {other}; there are older, sicker, films, \
                         charting, lag, noise and exposure"
                    ));
                }
            };
            if !range.contains(&value) {
                let (low, high) = (range.start(), range.end());
                return Err(format!("{name} must be {low}..={high}, not {value}"));
            }
            *field = value;
        }
        Ok(shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_are_read_and_bounded() {
        let shift: Shift = "older=5, films=0.7".parse().unwrap();
        assert_eq!(shift, Shift { older: 5.0, films: 0.7, ..Shift::default() });
        assert_eq!("".parse::<Shift>().unwrap(), Shift::default());
        for wrong in ["older", "older=x", "taller=1", "films=-1", "noise=NaN"] {
            assert!(wrong.parse::<Shift>().is_err(), "{wrong}");
        }
    }
}

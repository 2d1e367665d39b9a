//! What a fault does to a record: from sound bytes to others.

use image::GrayImage;
use rand::{Rng, RngExt as _};

use crate::event::dictionary::Dictionary;
use crate::ids::{Digest, FactId, StayId, Topic, VariableId};
use crate::time::{EventTime, Span};
use crate::wire::Codec;
use crate::wire::records::{
    CodeSystem, ImagingEvent, InlinePicture, LabEvent, ObservationStatus, PictureField,
    RecordedValue, VitalEvent,
};

/// A correction is known so much later than what it corrects.
const CORRECTED_AFTER: Span = Span::minutes(30);
/// And says so much more.
const CORRECTED_BY: f64 = 1.05;

/// A record of one of the topics that faults befall.
pub(super) enum Told {
    Lab(LabEvent),
    Vital(VitalEvent),
    Film(ImagingEvent),
}

impl Told {
    /// `None` for what the codec cannot read back, such as a topic that is left alone.
    pub(super) fn read(codec: &Codec, topic: Topic, record: &[u8]) -> Option<Told> {
        match topic {
            Topic::Lab => codec.decode(record).ok().map(Told::Lab),
            Topic::Vital => codec.decode(record).ok().map(Told::Vital),
            Topic::Imaging => codec.decode(record).ok().map(Told::Film),
            Topic::Stay | Topic::Acknowledgement => None,
        }
    }

    pub(super) fn write(&self, codec: &Codec) -> Option<Vec<u8>> {
        match self {
            Told::Lab(lab) => codec.encode(lab).ok(),
            Told::Vital(vital) => codec.encode(vital).ok(),
            Told::Film(film) => codec.encode(film).ok(),
        }
    }

    pub(super) fn available_at(&self) -> EventTime {
        match self {
            Told::Lab(lab) => lab.available_at,
            Told::Vital(vital) => vital.available_at,
            Told::Film(film) => film.available_at,
        }
    }

    /// The same of another stay.
    pub(super) fn of_stay(self, stay_id: StayId) -> Told {
        match self {
            Told::Lab(lab) => Told::Lab(LabEvent { stay_id, ..lab }),
            Told::Vital(vital) => Told::Vital(VitalEvent { stay_id, ..vital }),
            Told::Film(film) => Told::Film(ImagingEvent { stay_id, ..film }),
        }
    }

    /// A correction of it; `None` where there is no number to correct.
    pub(super) fn corrected(self, of: Digest) -> Option<Told> {
        let id = FactId::from_name(&format!("fault/correct/{of}"));
        let status = ObservationStatus::Corrected;
        match self {
            Told::Lab(lab) => Some(Told::Lab(LabEvent {
                replaces: Some(lab.event_id),
                event_id: id,
                value: scaled(&lab.value)?,
                available_at: lab.available_at + CORRECTED_AFTER,
                status,
                ..lab
            })),
            Told::Vital(vital) => Some(Told::Vital(VitalEvent {
                replaces: Some(vital.event_id),
                event_id: id,
                value: scaled(&vital.value)?,
                available_at: vital.available_at + CORRECTED_AFTER,
                status,
                ..vital
            })),
            Told::Film(_) => None,
        }
    }

    /// The same number under the name of another unit of its variable, and both names; `None`
    /// where the variable has but one unit.
    pub(super) fn in_another_unit(
        self,
        dictionary: &Dictionary,
        rng: &mut impl Rng,
    ) -> Option<(Told, String)> {
        let (system, code, value, unit) = match &self {
            Told::Lab(lab) => (lab.code_system, &lab.code, &lab.value, lab.unit.as_deref()),
            Told::Vital(vital) => {
                (vital.code_system, &vital.code, &vital.value, vital.unit.as_deref())
            }
            Told::Film(_) => return None,
        };
        let item = code.parse().ok().filter(|_| system == CodeSystem::MimicItem);
        let item = item.and_then(|item| dictionary.item(item));
        let variable: VariableId = match system {
            CodeSystem::MimicItem => item?.variable,
            CodeSystem::Loinc => dictionary.by_loinc(code)?,
            CodeSystem::Local => dictionary.by_code(code)?,
        };
        let variable = dictionary.variable(variable)?;
        let bare = || match value {
            RecordedValue::Number(value) => variable.bare_unit(*value),
            _ => variable.unit.as_str(),
        };
        let declared = unit.or_else(|| item?.unit.as_deref()).unwrap_or_else(bare);
        let meant = variable.ucum(declared)?.to_owned();
        let others: Vec<&str> = variable.units().filter(|unit| *unit != meant).collect();
        let other = (*others.get(rng.random_range(0..others.len().max(1)))?).to_owned();
        let detail = format!("{meant} called {other}");
        let unit = Some(other);
        let told = match self {
            Told::Lab(lab) => Told::Lab(LabEvent { unit, ..lab }),
            Told::Vital(vital) => Told::Vital(VitalEvent { unit, ..vital }),
            film @ Told::Film(_) => film,
        };
        Some((told, detail))
    }

    /// The film with the picture of `earlier`.
    pub(super) fn with_picture_of(self, earlier: Told) -> Option<Told> {
        match (self, earlier) {
            (Told::Film(film), Told::Film(earlier)) => {
                Some(Told::Film(ImagingEvent { picture: earlier.picture, ..film }))
            }
            _ => None,
        }
    }

    /// The film as its negative; `None` unless the picture travels with it in a readable form.
    pub(super) fn inverted(self) -> Option<Told> {
        let Told::Film(film) = self else { return None };
        let PictureField::Inline(inline) = &film.picture else { return None };
        let content = negative(&inline.content)?;
        let media_type = Some("image/png".to_owned());
        let picture = PictureField::Inline(InlinePicture { media_type, content });
        Some(Told::Film(ImagingEvent { picture, ..film }))
    }
}

fn scaled(value: &RecordedValue) -> Option<RecordedValue> {
    match value {
        RecordedValue::Number(number) => Some(RecordedValue::Number(number * CORRECTED_BY)),
        RecordedValue::Text(_) | RecordedValue::Missing => None,
    }
}

fn negative(content: &[u8]) -> Option<Vec<u8>> {
    let mut picture: GrayImage = image::load_from_memory(content).ok()?.into_luma8();
    picture.pixels_mut().for_each(|pixel| pixel.0[0] = u8::MAX - pixel.0[0]);
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).ok()?;
    Some(png.into_inner())
}

/// Bytes that are no record: the front of one, or noise behind a first byte that no record has.
pub(super) fn garbage(record: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    if rng.random::<bool>() {
        return record[..rng.random_range(0..record.len().max(1))].to_vec();
    }
    let mut noise = vec![0; record.len().clamp(1, 256)];
    rng.fill_bytes(&mut noise);
    noise[0] |= 1;
    noise
}

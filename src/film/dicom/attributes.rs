//! Reads the attributes that matter to a film (PS3.3, PS3.6). All others are left alone: no name,
//! number or date of the patient is looked at, but by [`super::origin`].

use super::dataset::{Element, Encoding, Tag, elements, items};
use super::undecodable;
use crate::event::{Rejection, ViewPosition};

pub(super) const TRANSFER_SYNTAX: Tag = Tag(0x0002, 0x0010);
pub(super) const SOP_CLASS: Tag = Tag(0x0008, 0x0016);
pub(super) const SYNTHETIC_DATA: Tag = Tag(0x0008, 0x001c);
pub(super) const MODALITY: Tag = Tag(0x0008, 0x0060);
const CODE_MEANING: Tag = Tag(0x0008, 0x0104);
pub(super) const BODY_PART: Tag = Tag(0x0018, 0x0015);
const VIEW_POSITION: Tag = Tag(0x0018, 0x5101);
pub(super) const SAMPLES_PER_PIXEL: Tag = Tag(0x0028, 0x0002);
pub(super) const PHOTOMETRIC: Tag = Tag(0x0028, 0x0004);
pub(super) const PLANAR: Tag = Tag(0x0028, 0x0006);
pub(super) const NUMBER_OF_FRAMES: Tag = Tag(0x0028, 0x0008);
pub(super) const ROWS: Tag = Tag(0x0028, 0x0010);
pub(super) const COLUMNS: Tag = Tag(0x0028, 0x0011);
pub(super) const BITS_ALLOCATED: Tag = Tag(0x0028, 0x0100);
pub(super) const BITS_STORED: Tag = Tag(0x0028, 0x0101);
pub(super) const HIGH_BIT: Tag = Tag(0x0028, 0x0102);
pub(super) const PIXEL_REPRESENTATION: Tag = Tag(0x0028, 0x0103);
pub(super) const PADDING_VALUE: Tag = Tag(0x0028, 0x0120);
pub(super) const PADDING_LIMIT: Tag = Tag(0x0028, 0x0121);
pub(super) const WINDOW_CENTER: Tag = Tag(0x0028, 0x1050);
pub(super) const WINDOW_WIDTH: Tag = Tag(0x0028, 0x1051);
pub(super) const RESCALE_INTERCEPT: Tag = Tag(0x0028, 0x1052);
pub(super) const RESCALE_SLOPE: Tag = Tag(0x0028, 0x1053);
pub(super) const VOI_FUNCTION: Tag = Tag(0x0028, 0x1056);
pub(super) const MODALITY_LUT: Tag = Tag(0x0028, 0x3000);
pub(super) const LUT_DESCRIPTOR: Tag = Tag(0x0028, 0x3002);
pub(super) const LUT_DATA: Tag = Tag(0x0028, 0x3006);
pub(super) const VOI_LUT: Tag = Tag(0x0028, 0x3010);
const VIEW_CODE: Tag = Tag(0x0054, 0x0220);
pub(super) const PRESENTATION_SHAPE: Tag = Tag(0x2050, 0x0020);

/// The elements of one data set or sequence item.
pub(super) struct Attributes<'a> {
    elements: Vec<Element<'a>>,
    encoding: Encoding,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(elements: Vec<Element<'a>>, encoding: Encoding) -> Self {
        Attributes { elements, encoding }
    }

    /// The element, unless it is absent or empty, which DICOM's type 2 makes the same.
    pub(super) fn element(&self, tag: Tag) -> Option<Element<'a>> {
        let found = self.elements.iter().find(|element| element.tag == tag);
        found.copied().filter(|element| !element.value.is_empty())
    }

    /// The first of the text's values, without padding.
    pub(super) fn text(&self, tag: Tag) -> Result<Option<&'a str>, Rejection> {
        let Some(element) = self.element(tag) else { return Ok(None) };
        let text = std::str::from_utf8(element.value);
        let text = text.map_err(|_| undecodable(format!("{tag:x?} is not text")))?;
        let first = text.split('\\').next().unwrap_or_default();
        Ok(Some(first.trim_matches([' ', '\0'])).filter(|text| !text.is_empty()))
    }

    /// The first value of a decimal string; finite.
    pub(super) fn decimal(&self, tag: Tag) -> Result<Option<f64>, Rejection> {
        let Some(text) = self.text(tag)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Some).ok_or_else(|| undecodable(format!("{tag:x?} is not a number")))
    }

    /// The first value of a 16-bit word.
    pub(super) fn word(&self, tag: Tag) -> Result<Option<u16>, Rejection> {
        match self.element(tag).map(|element| element.value) {
            None => Ok(None),
            Some([low, high, ..]) => Ok(Some(u16::from_le_bytes([*low, *high]))),
            Some(_) => Err(undecodable(format!("{tag:x?} is shorter than its type"))),
        }
    }

    /// As [`Attributes::word`], but the film cannot be read without it.
    pub(super) fn needed_word(&self, tag: Tag) -> Result<u16, Rejection> {
        self.word(tag)?.ok_or_else(|| undecodable(format!("{tag:x?} is missing")))
    }

    /// All 16-bit words of a value.
    pub(super) fn words(&self, tag: Tag) -> Option<Vec<u16>> {
        let pairs = self.element(tag)?.value.chunks_exact(2);
        Some(pairs.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
    }

    /// The first item of a sequence.
    pub(super) fn first_item(&self, tag: Tag) -> Result<Option<Attributes<'a>>, Rejection> {
        Ok(self.items(tag)?.into_iter().next())
    }

    /// The items of a sequence; none where it is absent.
    pub(super) fn items(&self, tag: Tag) -> Result<Vec<Attributes<'a>>, Rejection> {
        let Some(element) = self.element(tag) else { return Ok(Vec::new()) };
        let item = |item| Ok(Attributes::new(elements(item, self.encoding)?, self.encoding));
        items(element.value, self.encoding)?.into_iter().map(item).collect()
    }

    /// The view by View Position, else by View Code Sequence; `None` where neither is there.
    pub(super) fn view(&self) -> Result<Option<ViewPosition>, Rejection> {
        if let Some(position) = self.text(VIEW_POSITION)? {
            return Ok(Some(match position {
                "AP" => ViewPosition::Ap,
                "PA" => ViewPosition::Pa,
                "LL" | "RL" | "LLD" | "RLD" | "LATERAL" | "LAT" => ViewPosition::Lateral,
                "RLO" | "LLO" | "LAO" | "RAO" | "LPO" | "RPO" => ViewPosition::Lateral,
                _ => ViewPosition::Unknown,
            }));
        }
        let Some(code) = self.first_item(VIEW_CODE)? else { return Ok(None) };
        let meaning = code.text(CODE_MEANING)?.map(str::to_ascii_lowercase);
        Ok(meaning.map(|meaning| match meaning.trim() {
            "antero-posterior" | "anteroposterior" => ViewPosition::Ap,
            "postero-anterior" | "posteroanterior" => ViewPosition::Pa,
            side if side.contains("lateral") || side.contains("oblique") => ViewPosition::Lateral,
            _ => ViewPosition::Unknown,
        }))
    }
}

/// Whether a SOP class is Secondary Capture or one of its multi-frame kinds.
pub(super) fn is_secondary_capture(uid: &str) -> bool {
    let class = "1.2.840.10008.5.1.4.1.1.7";
    uid.strip_prefix(class).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

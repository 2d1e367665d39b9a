//! A chest of three ellipses, and the files that hold it. No patient, so it needs no shared data.

/// Side of the phantom in pixels.
pub const SIDE: usize = 240;

/// Grey of the phantom at 12 bits: air and lungs dark, body and mediastinum bright.
pub fn twelve_bits() -> Vec<u16> {
    let inside = |x: f64, y: f64, cx: f64, cy: f64, rx: f64, ry: f64| {
        1.0 - ((x - cx) / rx).powi(2) - ((y - cy) / ry).powi(2)
    };
    let grey = |i: usize| {
        let (x, y) = ((i % SIDE) as f64 / SIDE as f64, (i / SIDE) as f64 / SIDE as f64);
        let body = inside(x, y, 0.5, 0.8, 0.48, 0.78).clamp(0.0, 0.2) * 5.0;
        let lungs = inside(x, y, 0.28, 0.5, 0.17, 0.33).max(inside(x, y, 0.72, 0.5, 0.17, 0.33));
        let grey = 100.0 + 3000.0 * body - 2000.0 * lungs.clamp(0.0, 0.3) / 0.3 * body;
        // Grain, which every film has.
        let grain = (i as u32).wrapping_mul(2_654_435_761) >> 26;
        (grey + 500.0 * y) as u16 + grain as u16
    };
    (0..SIDE * SIDE).map(grey).collect()
}

/// The phantom's 8-bit display values under a window over the full 12 bits.
pub fn eight_bits() -> Vec<u8> {
    let grey = |code: u16| (f64::from(code) / 4095.0 * 255.0 + 0.5) as u8;
    twelve_bits().into_iter().map(grey).collect()
}

/// A DICOM file under construction, explicit little endian inside.
#[derive(Clone)]
pub struct Dicom {
    syntax: &'static str,
    elements: Vec<(u16, u16, [u8; 2], Vec<u8>)>,
    encapsulated: bool,
}

impl Dicom {
    /// A DX of a chest, AP, MONOCHROME2, 12 bits of 16 and unsigned, with these codes and the
    /// full window.
    pub fn new(codes: &[u16]) -> Self {
        let pixels = codes.iter().flat_map(|code| code.to_le_bytes()).collect();
        let empty = Dicom { syntax: "1.2.840.10008.1.2.1", elements: vec![], encapsulated: false };
        empty
            .text(0x0008, 0x0060, b"CS", "DX")
            .text(0x0018, 0x0015, b"CS", "CHEST")
            .text(0x0018, 0x5101, b"CS", "AP")
            .word(0x0028, 0x0002, 1)
            .text(0x0028, 0x0004, b"CS", "MONOCHROME2")
            .word(0x0028, 0x0010, SIDE as u16)
            .word(0x0028, 0x0011, SIDE as u16)
            .bits(16, 12)
            .word(0x0028, 0x0103, 0)
            .text(0x0028, 0x1050, b"DS", "2048")
            .text(0x0028, 0x1051, b"DS", "4096")
            .put(0x7fe0, 0x0010, b"OW", pixels)
    }

    pub fn put(mut self, group: u16, element: u16, vr: &[u8; 2], mut value: Vec<u8>) -> Self {
        if value.len() % 2 == 1 {
            value.push(if *vr == *b"OB" { 0 } else { b' ' });
        }
        self.elements.retain(|&(g, e, ..)| (g, e) != (group, element));
        self.elements.push((group, element, *vr, value));
        self.elements.sort();
        self
    }

    pub fn text(self, group: u16, element: u16, vr: &[u8; 2], text: &str) -> Self {
        self.put(group, element, vr, text.as_bytes().to_vec())
    }

    pub fn word(self, group: u16, element: u16, word: u16) -> Self {
        self.put(group, element, b"US", word.to_le_bytes().to_vec())
    }

    pub fn bits(self, allocated: u16, stored: u16) -> Self {
        let with = self.word(0x0028, 0x0100, allocated).word(0x0028, 0x0101, stored);
        with.word(0x0028, 0x0102, stored - 1)
    }

    pub fn without(mut self, group: u16, element: u16) -> Self {
        self.elements.retain(|&(g, e, ..)| (g, e) != (group, element));
        self
    }

    /// A sequence with one item, both of undefined length.
    pub fn sequence(
        self,
        group: u16,
        element: u16,
        inside: &[(u16, u16, [u8; 2], Vec<u8>)],
    ) -> Self {
        let mut value = b"\xfe\xff\0\xe0\xff\xff\xff\xff".to_vec();
        for (group, element, vr, bytes) in inside {
            append(&mut value, *group, *element, *vr, bytes);
        }
        value.extend(b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0");
        self.put(group, element, b"SQ", value)
    }

    /// Pixel data as one codestream of this transfer syntax.
    pub fn codestream(self, syntax: &'static str, stream: &[u8]) -> Self {
        let mut value = b"\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0".to_vec();
        value.extend((stream.len().next_multiple_of(2) as u32).to_le_bytes());
        value.extend(stream);
        value.resize(value.len().next_multiple_of(2), 0);
        value.extend(b"\xfe\xff\xdd\xe0\0\0\0\0");
        let with = self.put(0x7fe0, 0x0010, b"OB", value);
        Dicom { syntax, encapsulated: true, ..with }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        let mut uid = self.syntax.as_bytes().to_vec();
        uid.resize(uid.len().next_multiple_of(2), 0);
        append(&mut bytes, 0x0002, 0x0010, *b"UI", &uid);
        bytes.extend(self.dataset());
        bytes
    }

    pub fn dataset(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (group, element, vr, value) in &self.elements {
            let undefined = *vr == *b"SQ" || (*group == 0x7fe0 && self.encapsulated);
            let start = bytes.len();
            append(&mut bytes, *group, *element, *vr, value);
            if undefined {
                bytes[start + 8..start + 12].fill(0xff);
            }
        }
        bytes
    }
}

fn append(bytes: &mut Vec<u8>, group: u16, element: u16, vr: [u8; 2], value: &[u8]) {
    bytes.extend(group.to_le_bytes());
    bytes.extend(element.to_le_bytes());
    bytes.extend(vr);
    if matches!(&vr, b"OB" | b"OW" | b"SQ") {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend(value);
}

/// The phantom as baseline JPEG.
pub fn jpeg() -> Vec<u8> {
    jpeg_of(&eight_bits(), SIDE, 95)
}

/// A square picture as baseline JPEG.
pub fn jpeg_of(grey: &[u8], side: usize, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality);
    let side = side as u32;
    let kind = image::ExtendedColorType::L8;
    let written = image::ImageEncoder::write_image(encoder, grey, side, side, kind);
    written.expect("JPEG of the phantom");
    bytes
}

/// The phantom as RLE segments of PackBits literals, high byte first (PS3.5 annex G).
pub fn rle() -> Vec<u8> {
    rle_of(&twelve_bits())
}

/// The same of any 16-bit codes.
pub fn rle_of(codes: &[u16]) -> Vec<u8> {
    let segment = |shift: u32| {
        let bytes: Vec<u8> = codes.iter().map(|code| (code >> shift) as u8).collect();
        let literal = |run: &[u8]| [&[run.len() as u8 - 1], run].concat();
        bytes.chunks(128).flat_map(literal).collect::<Vec<u8>>()
    };
    let (high, low) = (segment(8), segment(0));
    let mut stream = vec![0; 64];
    stream[0] = 2;
    stream[4..8].copy_from_slice(&64u32.to_le_bytes());
    stream[8..12].copy_from_slice(&(64 + high.len() as u32).to_le_bytes());
    stream.extend(high);
    stream.extend(low);
    stream
}

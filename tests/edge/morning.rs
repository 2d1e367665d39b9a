//! A morning in a hospital whose systems deviate from the standard as real ones do: its messages.
//! The fuzz target of HL7 begins with them, too.

use nowcxr::time::{EventTime, Span};

/// 2026-03-01, in minutes after midnight UTC; Berlin's clock is an hour ahead.
pub fn at(minute: i64) -> EventTime {
    EventTime::from_millis(1_772_323_200_000) + Span::minutes(minute)
}

fn local(minute: i64) -> String {
    let minute = minute + 60;
    format!("20260301{:02}{:02}00", minute / 60, minute % 60)
}

/// One message of the corpus: when it comes, what it is, and the expected answer.
pub struct Sent {
    pub minute: i64,
    pub text: Vec<u8>,
    pub answer: &'static str,
}

struct Corpus {
    sent: Vec<Sent>,
}

impl Corpus {
    fn push(&mut self, minute: i64, answer: &'static str, text: impl Into<Vec<u8>>) {
        self.sent.push(Sent { minute, text: text.into(), answer });
    }

    /// An ADT message of patient `who` and visit `V` + `who`.
    fn adt(&mut self, minute: i64, trigger: &str, who: u32, unit: &str, tail: &str) {
        let n = self.sent.len();
        let pv1 = format!("PV1||I|{unit}^1^A{}V{who}{tail}", "|".repeat(16));
        let text = format!(
            "MSH|^~\\&|ADT|H|NCX|H|{0}||ADT^{trigger}^ADT_A01|A{n}|P|2.4\rEVN|{trigger}|{0}\r\
             PID|1||{who}^^^^MR||MUSTER^ERIKA||19570301|F\r{pv1}\r",
            local(minute)
        );
        self.push(minute, "AA", text);
    }

    /// A result of patient `who`, drawn half an hour before.
    fn oru(&mut self, minute: i64, who: u32, order: &str, obx: &str) {
        let text = self.oru_text(minute, who, order, obx);
        self.push(minute, "AA", text);
    }

    fn oru_text(&self, minute: i64, who: u32, order: &str, obx: &str) -> String {
        let n = self.sent.len();
        format!(
            "MSH|^~\\&|LIS|H|NCX|H|{}||ORU^R01|L{n}|P|2.3\rPID|1||{who}^^^^MR||MUSTER^ERIKA\r\
             PV1||I|MICU{}V{who}\rOBR|1||{order}|X|||{}{}{}||LAB\r{obx}\r",
            local(minute),
            "|".repeat(16),
            local(minute - 30),
            "|".repeat(15),
            local(minute),
        )
    }
}

/// The morning.
pub fn morning() -> Vec<Sent> {
    let mut corpus = Corpus { sent: Vec::new() };
    // A result before its admission; then the emergency room, then the ICU.
    corpus.oru(10, 42, "O1", "OBX|1|NM|2345-7^Glucose^LN||104|mg/dL|||||F");
    corpus.adt(20, "A01", 42, "ER", "");
    corpus.adt(60, "A02", 42, "MICU", "");
    // Line feeds, no character set and a Latin-1 name; a local code; an unknown one beside it.
    let text = corpus.oru_text(
        70,
        42,
        "O2",
        "OBX|1|NM|GLU^Zucker^L||5.8|mmol/L|||||F\rOBX|2|NM|718-7^Hb^LN||9|g/dL|||||F",
    );
    let text = text.replace("ERIKA", "J\u{fc}rgen").replace('\r', "\n");
    corpus.push(70, "AA", text.chars().map(|c| c as u8).collect::<Vec<u8>>());
    // A monitor: several values under one order, one implausible in its unit, one a range.
    corpus.oru(
        75,
        42,
        "M1",
        "OBX|1|NM|8867-4^HR^LN||88|/min|||||F\rOBX|2|NM|8310-5^T^LN||99.1|Cel|||||F\r\
         OBX|3|SN|9279-1^RR^LN||^18|/min|||||F\rOBX|4|SN|9279-1^RR^LN|2|>^30|/min|||||F",
    );
    // Preliminary, final with the same value, corrected; deleted.
    corpus.oru(80, 42, "O3", "OBX|1|NM|2345-7^Glucose^LN||300|mg/dL|||||P|||20260301021500");
    corpus.oru(95, 42, "O3", "OBX|1|NM|2345-7^Glucose^LN||300|mg/dL|||||F|||20260301021500");
    corpus.oru(130, 42, "O3", "OBX|1|NM|2345-7^Glucose^LN||130|mg/dL|||||C|||20260301021500");
    corpus.oru(140, 42, "O4", "OBX|1|NM|11558-4^pH^LN||7.1|[pH]|||||F");
    corpus.oru(150, 42, "O4", "OBX|1|NM|11558-4^pH^LN||\"\"|[pH]|||||W|||20260301025000");
    // Nobody's, nobody we know, no message, another version, and a type that is not read.
    let nobody = corpus.oru_text(151, 42, "O5", "OBX|1|NM|GLU||97|mg/dL|||||F");
    corpus.push(151, "AE", nobody.replace("42^^^^MR", ""));
    corpus.oru(152, 77, "O6", "OBX|1|NM|GLU||97|mg/dL|||||F");
    corpus.push(153, "AR", "hello");
    corpus.push(154, "AR", "MSH|^~\\&|A|B|C|D|1||ORU^R01|X1|P|3.0\r");
    corpus.push(155, "AR", "MSH|^~\\&|A|B|C|D|1||MDM^T02|X2|P|2.5\r");
    // Another patient's visit quoted: a dispute.
    let other = corpus.oru_text(156, 43, "O7", "OBX|1|NM|GLU||97|mg/dL|||||F");
    corpus.push(156, "AA", other.replace("V43", "V42"));
    // Enhanced mode, and the discharge.
    corpus.adt(200, "A03", 42, "MICU", "");
    corpus.sent
}

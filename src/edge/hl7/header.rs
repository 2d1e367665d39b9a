//! The MSH segment: who sends what, and how it is to be answered.

use thiserror::Error;

use super::message::{Message, Piece};
use crate::edge::clock::{Clock, TimeError};
use crate::time::EventTime;

/// Characters of a control id (HL7 v2.8: 199) and of other short fields that are kept.
const MAX_ID: usize = 199;

/// What MSH says; nothing, by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// MSH-3 and MSH-4: application and facility.
    pub sender: [String; 2],
    /// MSH-5 and MSH-6: us, as the sender calls us.
    pub receiver: [String; 2],
    pub kind: Kind,
    /// MSH-10.
    pub control_id: String,
    /// MSH-11, without its mode.
    pub processing: String,
    /// MSH-12.
    pub version: String,
    pub mode: AckMode,
}

/// MSH-9: message code and trigger event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    pub code: String,
    pub trigger: String,
}

/// How the sender wants to be answered: HL7 v2, chapter 2, 2.9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckMode {
    /// One application acknowledgement: AA, AE or AR.
    #[default]
    Original,
    /// A commit acknowledgement (CA, CE, CR) by MSH-15, an application acknowledgement by MSH-16.
    Enhanced { accept: When, application: When },
}

/// Table 0155.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    Never,
    OnError,
    OnSuccess,
}

/// Why a message is refused before anybody looks at what it says. Each is answered with AR or CR.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    #[error("MSH-10 is empty, so the message could not be told from another")]
    NoControlId,
    #[error("MSH-10 has more than {MAX_ID} characters")]
    LongControlId,
    #[error("MSH-12 names a version that is not 2.3 to 2.8")]
    Version,
    #[error("MSH-11 says that this is no production message; send P")]
    Processing,
    #[error("MSH-9 names no message type")]
    NoKind,
}

impl When {
    /// Whether an answer is wanted, given how things went.
    pub fn applies(self, went_well: bool) -> bool {
        match self {
            When::Always => true,
            When::Never => false,
            When::OnError => !went_well,
            When::OnSuccess => went_well,
        }
    }

    /// An empty or unknown code in the enhanced mode means never.
    fn read(field: Piece<'_>) -> Self {
        match field.text().as_ref() {
            "AL" => When::Always,
            "ER" => When::OnError,
            "SU" => When::OnSuccess,
            _ => When::Never,
        }
    }
}

impl Header {
    /// What of the header can be read of any message, so that it can be answered.
    pub fn read(message: &Message<'_>) -> Self {
        let field = |n: usize| message.segment("MSH").map(|msh| msh.field(n));
        let short = |piece: Option<Piece<'_>>| -> String {
            let text = piece.map(|piece| piece.text()).unwrap_or_default();
            text.chars().take(MAX_ID + 1).collect()
        };
        let first = |n: usize| short(field(n).map(|piece| piece.component(1)));
        Header {
            sender: [first(3), first(4)],
            receiver: [first(5), first(6)],
            kind: Kind::read(message),
            control_id: short(field(10)),
            processing: first(11),
            version: first(12),
            mode: field(15).zip(field(16)).map_or(AckMode::Original, |(accept, application)| {
                match accept.is_empty() && application.is_empty() {
                    true => AckMode::Original,
                    false => AckMode::Enhanced {
                        accept: When::read(accept),
                        application: When::read(application),
                    },
                }
            }),
        }
    }

    /// Whether a message with this header may be looked at. A missing version or processing id is a
    /// usual deviation and taken.
    pub fn check(&self) -> Result<(), HeaderError> {
        match self.control_id.chars().count() {
            0 => return Err(HeaderError::NoControlId),
            n if n > MAX_ID => return Err(HeaderError::LongControlId),
            _ => {}
        }
        let minor = self.version.strip_prefix("2.").and_then(|rest| rest.chars().next());
        if !self.version.is_empty() && !minor.is_some_and(|minor| ('3'..='8').contains(&minor)) {
            return Err(HeaderError::Version);
        }
        if !["", "P"].contains(&self.processing.as_str()) {
            return Err(HeaderError::Processing);
        }
        if self.kind.code.is_empty() {
            return Err(HeaderError::NoKind);
        }
        Ok(())
    }

    /// MSH-7, by the sender's clock.
    pub fn sent_at(message: &Message<'_>, clock: &Clock) -> Result<EventTime, TimeError> {
        let field = message.segment("MSH").map(|msh| msh.field(7).component(1).text());
        clock.read(&field.unwrap_or_default())
    }
}

impl Kind {
    /// MSH-9; where it names no trigger event, EVN-1 does, and a result is R01.
    fn read(message: &Message<'_>) -> Self {
        let text = |segment: &str, field: usize, component: usize| -> String {
            let piece = message.segment(segment).map(|s| s.field(field).component(component));
            let text = piece.map(|piece| piece.text()).unwrap_or_default();
            text.chars().take(8).collect::<String>().to_ascii_uppercase()
        };
        let code = text("MSH", 9, 1);
        let trigger = match text("MSH", 9, 2) {
            trigger if !trigger.is_empty() => trigger,
            _ if code == "ORU" => "R01".to_owned(),
            _ => text("EVN", 1, 1),
        };
        Kind { code, trigger }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(msh: &str) -> Header {
        Header::read(&Message::parse(&format!("{msh}\rEVN|A03\r")).unwrap())
    }

    #[test]
    fn the_mode_is_enhanced_where_either_field_is_there() {
        let mode =
            |tail: &str| header(&format!("MSH|^~\\&|A|B|C|D|1||ADT^A01|7|P|2.5|||{tail}")).mode;
        assert_eq!(mode("|"), AckMode::Original);
        let (accept, application) = (When::Always, When::Never);
        assert_eq!(mode("AL|NE"), AckMode::Enhanced { accept, application });
        let (accept, application) = (When::Never, When::OnError);
        assert_eq!(mode("|ER"), AckMode::Enhanced { accept, application });
        assert!(When::OnError.applies(false) && !When::OnError.applies(true));
        assert!(When::OnSuccess.applies(true) && !When::OnSuccess.applies(false));
    }

    #[test]
    fn usual_deviations_pass_and_others_are_refused() {
        let check = |msh: &str| header(msh).check();
        assert_eq!(check("MSH|^~\\&|A|B|C|D|1||ADT^A01|7|P|2.5.1"), Ok(()));
        assert_eq!(check("MSH|^~\\&|A|B|C|D|1||ADT|7||"), Ok(()));
        assert_eq!(header("MSH|^~\\&|A|B|C|D|1||ADT|7||").kind.trigger, "A03");
        assert_eq!(header("MSH|^~\\&|A|B|C|D|1||ORU|7||").kind.trigger, "R01");
        assert_eq!(check("MSH|^~\\&|A|B|C|D|1||ADT^A01||P|2.5"), Err(HeaderError::NoControlId));
        assert_eq!(check("MSH|^~\\&|A|B|C|D|1||ADT^A01|7|P|3"), Err(HeaderError::Version));
        assert_eq!(check("MSH|^~\\&|A|B|C|D|1||ADT^A01|7|T|2.3"), Err(HeaderError::Processing));
        assert_eq!(check("MSH|^~\\&|A|B|C|D|1|||7|P|2.3"), Err(HeaderError::NoKind));
        let long = "x".repeat(MAX_ID + 1);
        let long = check(&format!("MSH|^~\\&|A|B|C|D|1||ADT^A01|{long}|P|2.3"));
        assert_eq!(long, Err(HeaderError::LongControlId));
    }
}

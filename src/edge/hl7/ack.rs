//! What goes back to the sender: MSH, MSA and, where something was wrong, ERR.

use chrono::DateTime;

use super::escape::escape;
use super::header::{AckMode, Header};
use super::message::Delimiters;
use crate::time::WallTime;

/// Characters of the reason that an answer gives.
const MAX_REASON: usize = 200;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Durable: we answer for it from now on, parts that became dead letters included.
    Accepted,
    /// Durable as a dead letter: nothing in it could be used.
    Error(String),
    /// Not looked at: syntax, version, type or mode.
    Rejected(String),
}

impl Verdict {
    fn codes(&self) -> [&'static str; 2] {
        match self {
            Verdict::Accepted => ["CA", "AA"],
            Verdict::Error(_) => ["CE", "AE"],
            Verdict::Rejected(_) => ["CR", "AR"],
        }
    }

    fn reason(&self) -> &str {
        match self {
            Verdict::Accepted => "",
            Verdict::Error(reason) | Verdict::Rejected(reason) => reason,
        }
    }
}

/// The answers that the sender wants, in the order in which they go out: none, one, or a commit and
/// an application acknowledgement. `number` makes their control ids differ from all others.
pub fn answers(header: &Header, verdict: &Verdict, number: u64, now: WallTime) -> Vec<String> {
    let went_well = *verdict == Verdict::Accepted;
    let [commit, application] = verdict.codes();
    let wanted = match header.mode {
        AckMode::Original => vec![application],
        AckMode::Enhanced { accept, application: of_application } => {
            let commit = accept.applies(went_well).then_some(commit);
            let application = of_application.applies(went_well).then_some(application);
            commit.into_iter().chain(application).collect()
        }
    };
    wanted.into_iter().map(|code| answer(header, code, verdict.reason(), number, now)).collect()
}

fn answer(header: &Header, code: &str, reason: &str, number: u64, now: WallTime) -> String {
    let delimiters = Delimiters::default();
    let plain = |text: &str| escape(text, delimiters);
    let [application, facility] = &header.sender;
    let [our_application, our_facility] = &header.receiver;
    let version = if header.version.is_empty() { "2.5" } else { header.version.as_str() };
    let trigger = match header.kind.trigger.as_str() {
        "" => String::new(),
        trigger => format!("^{}", plain(trigger)),
    };
    let mut text = format!(
        "MSH|{}|{}|{}|{}|{}|{}||ACK{trigger}|NCX{number}{code}|P|{}\rMSA|{code}|{}",
        delimiters.encoding(),
        plain(our_application),
        plain(our_facility),
        plain(application),
        plain(facility),
        stamp(now),
        plain(version),
        plain(&header.control_id),
    );
    if !reason.is_empty() {
        let reason: String = reason.chars().take(MAX_REASON).collect();
        text.push_str(&format!("\rERR||||E||||{}", plain(&reason)));
    }
    text.push('\r');
    text
}

/// UTC, with its offset.
fn stamp(now: WallTime) -> String {
    let at = DateTime::from_timestamp_millis(now.as_millis()).unwrap_or_default();
    at.format("%Y%m%d%H%M%S+0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;

    fn header(tail: &str) -> Header {
        let text = format!("MSH|^~\\&|L^X|F|NCX|H|20260301||ORU^R01|a\\F\\7|P|2.4|||{tail}\r");
        Header::read(&Message::parse(&text).unwrap())
    }

    fn codes(tail: &str, verdict: &Verdict) -> Vec<String> {
        let answers = answers(&header(tail), verdict, 12, WallTime::from_millis(0));
        let code = |text: &String| {
            let message = Message::parse(text).unwrap();
            let msa = message.segment("MSA").unwrap();
            assert_eq!(msa.field(2).text(), "a|7");
            msa.field(1).text().into_owned()
        };
        answers.iter().map(code).collect()
    }

    #[test]
    fn each_mode_is_answered_in_its_own_codes() {
        let error = Verdict::Error("no patient".into());
        let rejected = Verdict::Rejected("version".into());
        assert_eq!(codes("", &Verdict::Accepted), ["AA"]);
        assert_eq!(codes("", &error), ["AE"]);
        assert_eq!(codes("", &rejected), ["AR"]);
        assert_eq!(codes("AL|NE", &Verdict::Accepted), ["CA"]);
        assert_eq!(codes("AL|NE", &rejected), ["CR"]);
        assert_eq!(codes("AL|AL", &error), ["CE", "AE"]);
        assert_eq!(codes("ER|SU", &Verdict::Accepted), ["AA"]);
        assert!(codes("NE|NE", &error).is_empty());
    }

    #[test]
    fn an_answer_turns_sender_and_receiver_round_and_gives_the_reason() {
        let error = Verdict::Error("no | patient".into());
        let answers = answers(&header(""), &error, 12, WallTime::from_millis(0));
        assert_eq!(
            answers,
            ["MSH|^~\\&|NCX|H|L|F|19700101000000+0000||ACK^R01|NCX12AE|P|2.4\r\
              MSA|AE|a\\F\\7\rERR||||E||||no \\F\\ patient\r"]
        );
    }
}

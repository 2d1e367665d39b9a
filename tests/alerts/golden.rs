//! Golden courses: each file of `tests/alerts/golden` is a script with what was told under every
//! line. `UPDATE_EXPECT=1 cargo test --release --test alerts` rewrites them; read the diff.
//!
//! ```text
//! mode interruptive          before anything else; silent if not given
//! 05:00 0.42 [film 02:00]    a prediction as of five hours after admission
//! 05:00 stale | degraded | unscored | missing
//! 05:00 discharged           the stay's last window
//! 05:00 r1 0.10 @07:00       a revision, known at 07:00
//! 05:00 r1 back @07:00       a retraction
//! 05:20 ack | action | snooze 4 | dismiss REASON   of the alert that stands
//! 05:20 suppress | release
//! 05:20 wait                 time passes
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use nowcxr::config::EngineConfig;
use nowcxr::engine::alert::Said;
use nowcxr::event::alert::{AlertEvent, Deed, Fault, Snooze, Suppression, Word};
use nowcxr::event::risk::{Mode, StayEnd};
use nowcxr::time::{EventTime, Span};

use crate::course::{Stage, point, risk};

#[test]
fn golden_courses() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alerts/golden");
    let mut paths: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no golden courses in {}", dir.display());
    let mut failed = Vec::new();
    for path in &paths {
        let expected = fs::read_to_string(path).unwrap();
        let got = play(&expected);
        if got == expected {
            continue;
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(path, &got).unwrap();
        } else {
            println!("--- {}\n{got}", path.display());
            failed.push(path.file_name().unwrap().to_owned());
        }
    }
    assert!(failed.is_empty(), "differ (UPDATE_EXPECT=1 rewrites): {failed:?}");
}

fn play(script: &str) -> String {
    let mode = match script.lines().find_map(|line| line.strip_prefix("mode ")) {
        Some("interruptive") => Mode::Interruptive,
        Some("passive") => Mode::Passive,
        _ => Mode::Silent,
    };
    let mut stage = Stage::new(mode, EngineConfig::default());
    let mut out = String::new();
    for line in script.lines().map(str::trim_end).filter(|line| !line.starts_with("  ")) {
        writeln!(out, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') || line.starts_with("mode") {
            continue;
        }
        match step(&mut stage, line) {
            Ok(told) => told.iter().for_each(|event| writeln!(out, "  {}", show(event)).unwrap()),
            Err(why) => writeln!(out, "  refused: {why}").unwrap(),
        }
    }
    out
}

fn step(stage: &mut Stage, line: &str) -> Result<Vec<AlertEvent>, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = minutes(words[0]);
    let known = words.iter().find_map(|word| word.strip_prefix('@')).map_or(at, minutes);
    let revision = words[1].strip_prefix('r').and_then(|n| n.parse().ok());
    let said = if revision.is_some() { words[2] } else { words[1] };
    let film = words.iter().position(|word| *word == "film").map(|i| minutes(words[i + 1]));
    let standing = || stage.standing().ok_or("no alert stands".to_owned());
    let deed = match said {
        "wait" => return Ok(stage.advance(at)),
        "ack" => Deed::Acknowledge(standing()?),
        "action" => Deed::Action(standing()?),
        "dismiss" => Deed::Dismiss(standing()?, Word::new(words[2]).unwrap()),
        "snooze" => {
            let length = Snooze::from_hours(words[2].parse().unwrap()).unwrap();
            Deed::Snooze(standing()?, length)
        }
        "suppress" => Deed::Suppress(Suppression::ComfortCare),
        "release" => Deed::Release,
        said => {
            let said = match said {
                "stale" => Said::Faulty(Fault::StaleEhr),
                "degraded" => Said::Faulty(Fault::ModelDegraded),
                "unscored" => Said::Faulty(Fault::Unscored),
                "missing" => Said::Faulty(Fault::FeedMissing),
                "discharged" => Said::Closed(StayEnd::Discharged),
                "back" => Said::TakenBack,
                number => risk(number.parse().unwrap(), film),
            };
            return Ok(stage.predict(point(at, known, revision.unwrap_or(0), said)));
        }
    };
    stage.act(at, deed)
}

fn show(event: &AlertEvent) -> String {
    let mut text = format!(
        "{} {} r{} {} {:?} {}",
        clock(event.raised_at),
        event.claim.subject().name(),
        event.revision,
        event.state.name(),
        event.priority,
        event.delivery.name(),
    );
    if event.known_at != event.raised_at {
        write!(text, " known {}", clock(event.known_at)).unwrap();
    }
    if event.escalation > 0 {
        write!(text, " escalated {}", event.escalation).unwrap();
    }
    write!(text, ", basis {}: {}", event.basis.len(), event.summary()).unwrap();
    text
}

fn minutes(word: &str) -> i64 {
    let (hours, minutes) = word.split_once(':').unwrap();
    hours.parse::<i64>().unwrap() * 60 + minutes.parse::<i64>().unwrap()
}

fn clock(at: EventTime) -> String {
    let minutes = at.as_millis().div_euclid(Span::MINUTE.as_millis());
    format!("{:02}:{:02}", minutes.div_euclid(60), minutes.rem_euclid(60))
}

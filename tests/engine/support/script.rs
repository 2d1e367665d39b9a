//! A small language for journals, so that a golden test reads as a story.
//!
//! One input a line; `12:30` is twelve and a half hours after the start; `@` is when it became
//! available, the observed time if not given. Names are ids.
//!
//! ```text
//! every 24:00
//! admit 1 00:00
//! readmit 1 00:30 @02:10
//! vital 1 a v8=88 01:00 @01:05
//! film 1 f 02:00 @02:15
//! refilm 1 g f 02:00 @03:30
//! correct 1 b a v8=90 01:00 @04:10
//! retract 1 c a @05:10
//! discharge 1 20:00 died
//! marks 06:00
//! mark lab 07:00
//! silent lab 08:00
//! deadline 1 03:00 r0
//! hold | answer
//! ```
//!
//! `every` comes first, if the windows are not hourly. `hold` stops answering questions, `answer`
//! answers those held, newest first, and goes on.

use std::fmt::Write as _;

use nowcxr::config::EngineConfig;
use nowcxr::engine::{Answer, Effect, Fate, Input, Task, View};
use nowcxr::event::alert::AlertEvent;
use nowcxr::event::risk::{RiskEvent, Status, Triggers};
use nowcxr::event::{Disposition, Mark};
use nowcxr::ids::{StayId, Ticket, Topic};
use nowcxr::time::{EventTime, Span};

use super::{Record, feed, mark, marks, minute, score_of, sealed, task};

/// Plays a script and returns it with its effects written under each line.
pub fn play(script: &str) -> String {
    let mut player =
        Player { task: task(EngineConfig::default()), offset: 0, holding: false, held: Vec::new() };
    let mut out = String::new();
    for line in script.lines() {
        let line = line.trim_end();
        if line.starts_with("  ") || line.is_empty() && out.is_empty() {
            continue;
        }
        writeln!(out, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for effect in player.line(line) {
            writeln!(out, "  {}", show(&effect)).unwrap();
        }
    }
    out
}

struct Player {
    task: Task,
    offset: u64,
    holding: bool,
    held: Vec<Answer>,
}

impl Player {
    fn line(&mut self, line: &str) -> Vec<Effect> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut effects = Vec::new();
        match words[0] {
            "every" => {
                let every = Some(clock(words[1]).since(clock("00:00")));
                self.task = task(EngineConfig { every, ..EngineConfig::default() });
            }
            "hold" => self.holding = true,
            "answer" => {
                self.holding = false;
                while let Some(answer) = self.held.pop() {
                    self.task.step(Input::Answer(answer), &mut effects);
                }
            }
            _ => {
                for input in self.inputs(&words) {
                    self.step(input, &mut effects);
                }
            }
        }
        effects
    }

    fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        let already = effects.len();
        self.task.step(input, effects);
        let tickets: Vec<Ticket> = effects[already..].iter().filter_map(sealed).collect();
        for ticket in tickets {
            match score_of(&self.task, ticket) {
                Some(answer) if self.holding => self.held.push(answer),
                Some(answer) => self.task.step(Input::Answer(answer), effects),
                None => {}
            }
        }
    }

    fn inputs(&mut self, words: &[&str]) -> Vec<Input> {
        match words[0] {
            "marks" => return marks(clock(words[1])).collect(),
            "mark" => return vec![mark(Topic::from_name(words[1]).unwrap(), clock(words[2]))],
            "silent" => {
                let feed = feed(Topic::from_name(words[1]).unwrap());
                return vec![Input::DerivedMark(Mark { feed, time: clock(words[2]) })];
            }
            "deadline" => {
                let revision = words[3].trim_start_matches('r').parse().unwrap();
                let stay = StayId(words[1].parse().unwrap());
                return vec![Input::Deadline(Ticket { stay, t: clock(words[2]), revision })];
            }
            _ => {}
        }
        let input = record(words).input(self.offset);
        self.offset += 1;
        vec![input]
    }
}

fn record(words: &[&str]) -> Record {
    let stay: u64 = words[1].parse().unwrap();
    let available = words.iter().find_map(|word| word.strip_prefix('@')).map(minutes);
    let build = |topic, id: &str, at: i64| Record::of(topic, id, stay, at, available.unwrap_or(at));
    match words[0] {
        "admit" => build(Topic::Stay, &format!("admit{stay}"), minutes(words[2])).admits(),
        "readmit" => build(Topic::Stay, &format!("readmit{stay}"), minutes(words[2])).admits(),
        "discharge" => {
            let died = words.contains(&"died");
            let disposition = if died { Disposition::Died } else { Disposition::Alive };
            build(Topic::Stay, &format!("end{stay}"), minutes(words[2])).discharges(disposition)
        }
        "film" => build(Topic::Imaging, words[2], minutes(words[3])).film(words[2]),
        "refilm" => {
            let record = build(Topic::Imaging, words[2], minutes(words[4]));
            record.replaces_film(words[3], words[2])
        }
        "correct" => {
            let (variable, value) = reading(words[4]);
            build(Topic::Lab, words[2], minutes(words[5])).corrects(words[3], variable, value)
        }
        "retract" => build(Topic::Lab, words[2], available.unwrap()).retracts(words[3]),
        topic => {
            let (variable, value) = reading(words[3]);
            let topic = Topic::from_name(topic).expect("a known word");
            build(topic, words[2], minutes(words[4])).value(variable, value)
        }
    }
}

/// `v8=88.5` is 88.5 of variable 8.
fn reading(word: &str) -> (u8, f64) {
    let (variable, value) = word.trim_start_matches('v').split_once('=').unwrap();
    (variable.parse().unwrap(), value.parse().unwrap())
}

fn minutes(word: &str) -> i64 {
    let (hours, minutes) = word.split_once(':').unwrap();
    let sign = if hours.starts_with('-') { -1 } else { 1 };
    hours.parse::<i64>().unwrap() * 60 + sign * minutes.parse::<i64>().unwrap()
}

fn clock(word: &str) -> EventTime {
    minute(minutes(word))
}

fn show_time(at: EventTime) -> String {
    let ms = at.as_millis();
    let rest = ms.rem_euclid(Span::MINUTE.as_millis());
    let minutes = ms.div_euclid(Span::MINUTE.as_millis());
    let clock = format!("{:02}:{:02}", minutes.div_euclid(60), minutes.rem_euclid(60));
    if rest == 0 { clock } else { format!("{clock}+{rest}ms") }
}

fn show(effect: &Effect) -> String {
    match effect {
        Effect::Decided { origin, fate, .. } => match fate {
            Fate::Rejected(rejection) => format!("{origin} rejected {rejection}"),
            fate => format!("{origin} {}", format!("{fate:?}").to_lowercase()),
        },
        Effect::Overshadowed { stay, copies } => format!("overshadowed {stay} {copies} copies"),
        Effect::Advanced(to) => format!("watermark {}", show_time(*to)),
        Effect::Sealed { ticket, triggers, .. } => {
            format!("sealed {} {}", show_ticket(ticket), show_triggers(triggers))
        }
        Effect::Risk(event) => show_risk(event),
        Effect::View(view) => show_view(view),
        Effect::Alert(event) => show_alert(event),
        Effect::Unasked(ticket) => format!("unasked {}", show_ticket(ticket)),
        Effect::Ended { stay, at, how } => format!("ended {stay} {} {how:?}", show_time(*at)),
        Effect::Expired(stay) => format!("expired {stay}"),
    }
}

/// As `alert 1 05:00 in_hospital_death r0 open: Risk of …`.
pub fn show_alert(event: &AlertEvent) -> String {
    let (stay, subject) = (event.stay, event.claim.subject().name());
    let raised = show_time(event.raised_at);
    let (revision, state) = (event.revision, event.state.name());
    let known = if event.known_at == event.raised_at {
        String::new()
    } else {
        format!(" known {}", show_time(event.known_at))
    };
    let summary = event.summary();
    format!("alert {stay} {raised} {subject} r{revision} {state}{known}: {summary}")
}

fn show_ticket(ticket: &Ticket) -> String {
    format!("{} {} r{}", ticket.stay, show_time(ticket.t), ticket.revision)
}

fn show_triggers(triggers: &Triggers) -> String {
    let words = [
        (triggers.hour, "hour"),
        (triggers.landmark, "landmark"),
        (triggers.film, "film"),
        (triggers.request, "request"),
    ];
    let names: Vec<&str> = words.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    names.join("+")
}

fn show_view(view: &View) -> String {
    let event = &view.event;
    let ticket = Ticket { stay: event.stay, t: event.t, revision: event.revision };
    let rows = view
        .given
        .as_ref()
        .map_or("nothing given".to_owned(), |given| format!("{} rows given", given.rows.len()));
    format!("view {} {rows}", show_ticket(&ticket))
}

fn show_risk(event: &RiskEvent) -> String {
    let ticket = Ticket { stay: event.stay, t: event.t, revision: event.revision };
    let status = match &event.status {
        Status::Scored => "scored".to_owned(),
        Status::Degraded { reason } => format!("degraded({reason})"),
        Status::Unscored { reason } => format!("unscored({reason})"),
        Status::Retracted => "retracted".to_owned(),
    };
    let film = event
        .film
        .map_or("no film".to_owned(), |film| format!("film {}", show_time(film.acquired_at)));
    let known = if event.known_at == event.t {
        String::new()
    } else {
        format!(" known {}", show_time(event.known_at))
    };
    let missing = if event.feed_missing.is_empty() {
        String::new()
    } else {
        format!(" missing {}", event.feed_missing.join(","))
    };
    let n = event.series.n_facts;
    format!("risk {} {status} {n} facts, {film}{known}{missing}", show_ticket(&ticket))
}

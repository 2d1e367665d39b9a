//! Curves as inline SVG. Colours come from classes, so that themes and print can change them.

use maud::{Markup, html};

use super::format;
use super::ward::{AlertNote, Moment, StayLog};
use crate::event::alert::Subject;
use crate::ids::StayId;
use crate::time::{EventTime, Span};

/// Where numbers of one chart fall: a box in user units, times across and values up.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub from: EventTime,
    pub to: EventTime,
    pub low: f64,
    pub high: f64,
}

impl Frame {
    pub fn x(&self, at: EventTime) -> f64 {
        let length = self.to.since(self.from).as_millis().max(1) as f64;
        let share = at.since(self.from).as_millis() as f64 / length;
        round(self.left + share.clamp(0.0, 1.0) * self.width)
    }

    pub fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low).max(f64::EPSILON);
        round(self.top + (1.0 - share.clamp(0.0, 1.0)) * self.height)
    }

    fn right(&self) -> f64 {
        self.left + self.width
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// Tenths of a unit are finer than any pixel, and keep pages short.
fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

/// `M x y L x y …`; empty without points.
fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut text = String::new();
    for (n, (x, y)) in points.enumerate() {
        text.push_str(if n == 0 { "M" } else { "L" });
        text.push_str(&format!("{x} {y}"));
    }
    text
}

/// The outline of a band between lower and upper ends.
fn outline(ends: &[(f64, f64, f64)]) -> String {
    let there = ends.iter().map(|(x, _, upper)| (*x, *upper));
    let back = ends.iter().rev().map(|(x, lower, _)| (*x, *lower));
    let mut text = path(there.chain(back));
    if !text.is_empty() {
        text.push('Z');
    }
    text
}

/// The top of a probability axis: half or whole.
fn ceiling(moments: &[&Moment]) -> f64 {
    let high = |m: &&Moment| m.interval.map(|(_, high)| high);
    let ends = moments.iter().filter_map(high).chain(moments.iter().filter_map(|m| m.mortality));
    let top = ends.fold(0.0, f32::max);
    if top > 0.5 { 1.0 } else { 0.5 }
}

fn interval_outline(frame: &Frame, moments: &[&Moment]) -> String {
    let ends: Vec<(f64, f64, f64)> = moments
        .iter()
        .filter_map(|m| {
            let (low, high) = m.interval?;
            Some((frame.x(m.t), frame.y(low.into()), frame.y(high.into())))
        })
        .collect();
    outline(&ends)
}

fn line(frame: &Frame, moments: &[&Moment], of: impl Fn(&Moment) -> Option<f32>) -> String {
    path(moments.iter().filter_map(|m| Some((frame.x(m.t), frame.y(of(m)?.into())))))
}

/// Length of the curve on a tile.
pub const TREND: Span = Span::hours(24);

/// The risk of the last 24 h up to `now`, as small as a word. `moments` in the order of time.
pub fn trend(moments: &[&Moment], now: EventTime) -> Markup {
    let from = now - TREND;
    let shown: Vec<&Moment> =
        moments.iter().copied().filter(|m| m.t >= from && m.mortality.is_some()).collect();
    let high = ceiling(&shown);
    let frame =
        Frame { left: 2.0, top: 3.0, width: 152.0, height: 38.0, from, to: now, low: 0.0, high };
    let ends = shown.first().zip(shown.last());
    let said = match ends.and_then(|(a, b)| a.mortality.zip(b.mortality)) {
        Some((a, b)) => format!(
            "Risk over the last 24 h: from {} to {}",
            format::percent(a),
            format::percent(b)
        ),
        None => "No risk in the last 24 h".to_owned(),
    };
    html! {
        svg.trend viewBox="0 0 160 44" role="img" aria-label=(said) preserveAspectRatio="none" {
            @for edge in [0.1, 0.3] {
                line.edge x1="0" x2="160" y1=(frame.y(edge)) y2=(frame.y(edge)) {}
            }
            path.interval d=(interval_outline(&frame, &shown)) {}
            path.curve d=(line(&frame, &shown, |m| m.mortality)) {}
            @if let Some((_, last)) = ends {
                @if let Some(p) = last.mortality {
                    circle.now cx=(frame.x(last.t)) cy=(frame.y(p.into())) r="3" {}
                }
            }
        }
    }
}

/// Spacing of the labels under the risk curve, so that there are at most a dozen.
fn tick(length: Span) -> Span {
    let hours = [2, 4, 6, 12, 24, 48, 96, 168, 336, 720];
    let fits = |h: &&i64| length.as_hours() / (**h as f64) <= 12.0;
    Span::hours(hours.iter().find(fits).copied().unwrap_or(1_440))
}

/// The course of the risk of one stay up to `now`; every window leads to its moment. `alerts` are
/// those known by then.
pub fn course(
    id: StayId,
    stay: &StayLog,
    moments: &[&Moment],
    alerts: &[&AlertNote],
    now: EventTime,
) -> Markup {
    let from = stay.begins().unwrap_or(now);
    let to = now.max(from + Span::hours(6));
    // The twins are drawn on the same axis: none of them may run along its top.
    let twin = |m: &&Moment| m.ehr_only > Some(0.5) || m.carry_forward > Some(0.5);
    let high = if moments.iter().any(twin) { 1.0 } else { ceiling(moments) };
    let frame =
        Frame { left: 46.0, top: 14.0, width: 898.0, height: 210.0, from, to, low: 0.0, high };
    let levels: Vec<f64> = (0..=5).map(|n| high * f64::from(n) / 5.0).collect();
    html! {
        svg.course viewBox="0 0 960 284" {
            g role="img" aria-labelledby="course-title course-desc" {
                title #course-title { "Risk of death in hospital over the stay" }
                desc #course-desc { (said(moments)) " The same numbers stand in the table below." }
                @for level in levels {
                    line.grid x1=(frame.left) x2=(frame.right()) y1=(frame.y(level))
                        y2=(frame.y(level)) {}
                    text.axis x="40" y=(frame.y(level) + 4.0) text-anchor="end" {
                        (format!("{:.0} %", level * 100.0))
                    }
                }
                (edges(&frame))
                (time_axis(&frame))
                path.interval d=(interval_outline(&frame, moments)) {}
                path.twin-carry d=(line(&frame, moments, |m| m.carry_forward)) {}
                path.twin-ehr d=(line(&frame, moments, |m| m.ehr_only)) {}
                path.curve d=(line(&frame, moments, |m| m.mortality)) {}
                (films(&frame, stay, now))
                (raised(&frame, alerts))
                line.now-line x1=(frame.x(now)) x2=(frame.x(now)) y1=(frame.top)
                    y2=(frame.bottom()) {}
            }
            // A picture has no links inside; without a mouse the table has them.
            g aria-hidden="true" { (marks(id, &frame, moments)) }
        }
    }
}

fn edges(frame: &Frame) -> Markup {
    html! {
        @for (edge, word) in [(0.1, "raised"), (0.3, "high")] {
            line.edge x1=(frame.left) x2=(frame.right()) y1=(frame.y(edge)) y2=(frame.y(edge)) {}
            text.edge-word x=(frame.left + 6.0) y=(frame.y(edge) - 4.0) { (word) }
        }
    }
}

fn time_axis(frame: &Frame) -> Markup {
    let step = tick(frame.to.since(frame.from));
    let mut ticks = Vec::new();
    let mut at = frame.from;
    while at <= frame.to && ticks.len() < 14 {
        ticks.push(at);
        at = at + step;
    }
    html! {
        @for at in ticks {
            line.tick x1=(frame.x(at)) x2=(frame.x(at)) y1=(frame.bottom())
                y2=(frame.bottom() + 5.0) {}
            text.axis x=(frame.x(at)) y=(frame.bottom() + 20.0) text-anchor="middle" {
                (format!("{:.0} h", at.since(frame.from).as_hours()))
            }
            // A date at the right edge would be cut off in the middle, and one that is moved to
            // the left needs room.
            @let is_last = frame.x(at) + 40.0 > frame.right();
            @if !is_last || frame.x(at) - frame.x(at - step) > 118.0 {
                text.axis.faint x=(frame.x(at)) y=(frame.bottom() + 36.0)
                    text-anchor=(if is_last { "end" } else { "middle" }) {
                    (format::short_stamp(at))
                }
            }
        }
    }
}

/// One dot for each window; a correction is a diamond.
fn marks(id: StayId, frame: &Frame, moments: &[&Moment]) -> Markup {
    html! {
        @for moment in moments {
            @if let Some(p) = moment.mortality {
                a href=(format!("/stay/{id}?at={}", format::machine(moment.known_at)))
                    tabindex="-1" {
                    title { (format::stamp(moment.t)) ": " (format::percent(p)) }
                    @if moment.revision > 0 {
                        @let (x, y) = (frame.x(moment.t), frame.y(p.into()));
                        path.corrected d=(format!(
                            "M{x} {}L{} {y}L{x} {}L{} {y}Z", y - 6.0, x + 6.0, y + 6.0, x - 6.0
                        )) {}
                    } @else {
                        circle.window cx=(frame.x(moment.t)) cy=(frame.y(p.into())) r="2.6" {}
                    }
                }
            }
        }
    }
}

fn films(frame: &Frame, stay: &StayLog, now: EventTime) -> Markup {
    let seen =
        |film: &&super::ward::FilmNote| film.available_at <= now && film.available_at >= frame.from;
    html! {
        @for film in stay.films.iter().filter(seen) {
            @let x = frame.x(film.available_at);
            line.film-line x1=(x) x2=(x) y1=(frame.top) y2=(frame.bottom()) {}
            path.film-mark d=(format!("M{x} {}l6 -10h-12z", frame.bottom())) {
                title { "Film available " (format::stamp(film.available_at)) }
            }
        }
    }
}

/// When alerts of risk were raised, silent ones as well.
fn raised(frame: &Frame, alerts: &[&AlertNote]) -> Markup {
    let of_risk = |note: &&&AlertNote| {
        note.subject == Subject::InHospitalDeath && note.raised_at >= frame.from
    };
    html! {
        @for note in alerts.iter().filter(of_risk) {
            path.alert-mark d=(format!("M{} {}l5.5 10h-11z", frame.x(note.raised_at), 2)) {
                title { "Alert raised " (format::stamp(note.raised_at)) }
            }
        }
    }
}

/// The course in a sentence.
fn said(moments: &[&Moment]) -> String {
    let scored = || moments.iter().filter_map(|m| Some((m.t, m.mortality?)));
    let (Some(first), Some(last)) = (scored().next(), scored().next_back()) else {
        return "No risk has been computed yet.".to_owned();
    };
    let top = scored().fold(first, |top, one| if one.1 > top.1 { one } else { top });
    format!(
        "{} at {}, highest {} at {}, now {}.",
        format::percent(first.1),
        format::stamp(first.0),
        format::percent(top.1),
        format::stamp(top.0),
        format::percent(last.1)
    )
}

/// One point of a variable's curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub at: EventTime,
    pub value: f64,
    /// False where nothing was observed and the model was given the last value.
    pub observed: bool,
}

/// A variable over time: observations as filled dots, imputed hours as hollow ones. `clamp` are
/// the ends of what the model can see.
pub fn series(
    points: &[Point],
    from: EventTime,
    to: EventTime,
    clamp: Option<(f64, f64)>,
) -> Markup {
    let values = || points.iter().map(|point| point.value);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::MIN, f64::max));
    let room = ((high - low) * 0.15).max(high.abs() * 0.02).max(0.01);
    let (low, high) = (low - room, high + room);
    let frame = Frame { left: 4.0, top: 5.0, width: 232.0, height: 46.0, from, to, low, high };
    let observed = || points.iter().filter(|point| point.observed);
    let inside = |level: &f64| (low..=high).contains(level);
    let levels = clamp.map(|(low, high)| vec![low, high]).unwrap_or_default();
    html! {
        svg.series viewBox="0 0 240 56" aria-hidden="true" preserveAspectRatio="none" {
            @for level in levels.into_iter().filter(inside) {
                line.clamp x1="0" x2="240" y1=(frame.y(level)) y2=(frame.y(level)) {}
            }
            path.curve d=(path(observed().map(|p| (frame.x(p.at), frame.y(p.value))))) {}
            @for point in points {
                circle.observed[point.observed].imputed[!point.observed] cx=(frame.x(point.at))
                    cy=(frame.y(point.value)) r=(if point.observed { "2.4" } else { "2" }) {}
            }
        }
    }
}

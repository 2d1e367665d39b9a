//! Plots as SVG text: readable in black and white, because marks differ by shape and fill.

use std::fmt::Write as _;

use super::figures::Figure;

/// A mark: shape, fill, colour. The colours can be told apart with every common colour blindness
/// (Okabe and Ito), and are never needed to read a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Disc,
    Square,
    Triangle,
}

/// One line of a forest plot.
pub(super) struct Row {
    pub(super) label: String,
    /// What stands small under the label.
    pub(super) note: String,
    pub(super) marks: Vec<(Mark, Figure)>,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 20.0;
const LANE: f64 = 15.0;

/// Text that is safe inside the page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Mark {
    pub(super) const ALL: [Mark; 3] = [Mark::Disc, Mark::Square, Mark::Triangle];

    fn colour(self) -> &'static str {
        match self {
            Mark::Disc => "#0072B2",
            Mark::Square => "#B34700",
            Mark::Triangle => "#555555",
        }
    }

    /// The mark alone, centred at (x, y).
    pub(super) fn at(self, x: f64, y: f64) -> String {
        let colour = self.colour();
        match self {
            Mark::Disc => format!("<circle cx='{x:.1}' cy='{y:.1}' r='4.6' fill='{colour}'/>"),
            Mark::Square => format!(
                "<rect x='{:.1}' y='{:.1}' width='8' height='8' fill='var(--paper)' \
                 stroke='{colour}' stroke-width='1.8'/>",
                x - 4.0,
                y - 4.0
            ),
            Mark::Triangle => format!(
                "<path d='M{x:.1} {:.1} l4.8 8.4 h-9.6 z' fill='var(--paper)' stroke='{colour}' \
                 stroke-width='1.6'/>",
                y - 5.4
            ),
        }
    }

    fn with_interval(self, figure: &Figure, y: f64, place: &dyn Fn(f64) -> f64) -> String {
        let Some(estimate) = figure.known() else { return String::new() };
        let bar = estimate.interval.map_or(String::new(), |(low, high)| {
            let (from, to) = (place(low), place(high));
            format!(
                "<line x1='{from:.1}' x2='{to:.1}' y1='{y:.1}' y2='{y:.1}' stroke='{}' \
                 stroke-width='1.6'/>",
                self.colour()
            )
        });
        bar + &self.at(place(estimate.value), y)
    }
}

/// Round steps that cut a range into four to eight parts.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let scale = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|n| n * scale)
        .find(|step| *step >= rough)
        .unwrap_or(scale * 10.0);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// Estimates with intervals, one lane a mark. `None` when nothing is known.
pub(super) fn forest(rows: &[Row], axis: &str, always: &[f64]) -> Option<String> {
    let known = rows.iter().flat_map(|row| &row.marks).filter_map(|(_, figure)| figure.known());
    let ends: Vec<f64> = known
        .flat_map(|e| {
            let (low, high) = e.interval.unwrap_or((e.value, e.value));
            [low, high, e.value]
        })
        .collect();
    if ends.is_empty() {
        return None;
    }
    let ends = || ends.iter().chain(always).copied();
    let (low, high) = (ends().fold(f64::INFINITY, f64::min), ends().fold(-1e9, f64::max));
    let pad = 0.04 * (high - low).max(0.02);
    let (low, high) = (low - pad, high + pad);
    let place = move |value: f64| LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT);
    let heights: Vec<f64> =
        rows.iter().map(|row| (row.marks.len() as f64 * LANE + 12.0).max(36.0)).collect();
    let bottom = 8.0 + heights.iter().sum::<f64>();
    let mut svg = open(bottom + 44.0, axis);
    for tick in ticks(low, high) {
        let x = place(tick);
        let strong = if tick.abs() < 1e-12 { "zero" } else { "grid" };
        let _ = write!(
            svg,
            "<line class='{strong}' x1='{x:.1}' x2='{x:.1}' y1='4' y2='{bottom:.1}'/><text \
             class='tick' x='{x:.1}' y='{:.1}' text-anchor='middle'>{}</text>",
            bottom + 16.0,
            number(tick)
        );
    }
    let mut y = 8.0;
    for (row, height) in rows.iter().zip(&heights) {
        let middle = y + height / 2.0;
        let _ = write!(
            svg,
            "<text class='label' x='0' y='{:.1}'>{}</text><text class='note' x='0' \
             y='{:.1}'>{}</text>",
            middle - 2.0,
            escape(&row.label),
            middle + 12.0,
            escape(&row.note)
        );
        let top = middle - LANE * (row.marks.len() as f64 - 1.0) / 2.0;
        for (lane, (mark, figure)) in row.marks.iter().enumerate() {
            svg += &mark.with_interval(figure, top + lane as f64 * LANE, &place);
        }
        y += height;
        let _ = write!(svg, "<line class='rule' x1='0' x2='{WIDTH}' y1='{y:.1}' y2='{y:.1}'/>");
    }
    let _ = write!(
        svg,
        "<text class='axis' x='{:.1}' y='{:.1}' text-anchor='middle'>{}</text></svg>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        bottom + 36.0,
        escape(axis)
    );
    Some(svg)
}

/// One line of a plot of curves.
pub(super) struct Curve {
    pub(super) mark: Mark,
    pub(super) points: Vec<(f64, f64)>,
}

/// Two logarithmic axes.
struct Axes {
    left: f64,
    right: f64,
    low: f64,
    high: f64,
}

impl Axes {
    const LEFT: f64 = 64.0;
    const TOP: f64 = 10.0;
    const HEIGHT: f64 = 280.0;

    /// Wide enough for all points and `limit`. `None` without a value above 0 on both axes.
    fn of(lines: &[Curve], limit: Option<f64>) -> Option<Self> {
        let all = || lines.iter().flat_map(|line| line.points.iter().copied());
        let range = |values: &mut dyn Iterator<Item = f64>| {
            let known = values.filter(|v| *v > 0.0).map(f64::log10);
            known.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
        };
        let (left, right) = range(&mut all().map(|(x, _)| x));
        let (low, high) = range(&mut all().map(|(_, y)| y).chain(limit));
        let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
        (left.is_finite() && low.is_finite()).then_some(Axes { left, right, low, high })
    }

    fn x(&self, value: f64) -> f64 {
        let share = (value.log10() - self.left) / (self.right - self.left).max(1e-9);
        Axes::LEFT + 8.0 + share * (WIDTH - Axes::LEFT - RIGHT - 16.0)
    }

    /// A value of 0 has no place and stands at the bottom.
    fn y(&self, value: f64) -> f64 {
        let height = value.max(10f64.powf(self.low)).log10();
        Axes::TOP + (self.high - height) / (self.high - self.low) * Axes::HEIGHT
    }

    fn across(&self, class: &str, y: f64) -> String {
        let (from, to) = (Axes::LEFT, WIDTH - RIGHT);
        format!("<line class='{class}' x1='{from}' x2='{to:.1}' y1='{y:.1}' y2='{y:.1}'/>")
    }

    /// Lines and numbers at each decade above, and at 1, 2 and 5 of each across.
    fn grid(&self) -> String {
        let mut svg = String::new();
        for decade in self.low as i32..=self.high as i32 {
            let (y, value) = (self.y(10f64.powi(decade)), 10f64.powi(decade));
            let _ = write!(
                svg,
                "{}<text class='tick' x='{:.1}' y='{:.1}' text-anchor='end'>{value}</text>",
                self.across("grid", y),
                Axes::LEFT - 6.0,
                y + 4.0
            );
        }
        let bottom = Axes::TOP + Axes::HEIGHT;
        for value in (0..6).flat_map(|n| [1.0, 2.0, 5.0].map(|k| k * 10f64.powi(n))) {
            if (self.left - 1e-9..=self.right + 1e-9).contains(&value.log10()) {
                let _ = write!(
                    svg,
                    "<line class='grid' x1='{0:.1}' x2='{0:.1}' y1='{1}' y2='{bottom:.1}'/><text \
                     class='tick' x='{0:.1}' y='{2:.1}' text-anchor='middle'>{value}</text>",
                    self.x(value),
                    Axes::TOP,
                    bottom + 16.0
                );
            }
        }
        svg
    }
}

/// Curves over two logarithmic axes, with a dashed line at `limit`. `None` without a value above 0.
pub(super) fn curves(
    lines: &[Curve],
    across: &str,
    up: &str,
    limit: Option<f64>,
) -> Option<String> {
    let axes = Axes::of(lines, limit)?;
    let mut svg = open(Axes::HEIGHT + 56.0, up) + &axes.grid();
    svg += &limit.map_or(String::new(), |limit| axes.across("ideal", axes.y(limit)));
    for line in lines {
        let place = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", axes.x(*x), axes.y(*y));
        let points: Vec<String> = line.points.iter().map(place).collect();
        let _ = write!(
            svg,
            "<polyline points='{}' fill='none' stroke='{}' stroke-width='1.6'/>",
            points.join(" "),
            line.mark.colour()
        );
        line.points.iter().for_each(|(x, y)| svg += &line.mark.at(axes.x(*x), axes.y(*y)));
    }
    let _ = write!(
        svg,
        "<text class='axis' x='{:.1}' y='{:.1}' text-anchor='middle'>{}</text><text class='axis' \
         transform='translate(12 {:.1}) rotate(-90)' text-anchor='middle'>{}</text></svg>",
        (Axes::LEFT + WIDTH - RIGHT) / 2.0,
        Axes::HEIGHT + 48.0,
        escape(across),
        Axes::TOP + Axes::HEIGHT / 2.0,
        escape(up)
    );
    Some(svg)
}

/// Observed shares over predicted ones; the area of a mark follows the number of windows.
pub(super) fn reliability(groups: &[(f64, f64, usize)]) -> String {
    let top = groups.iter().flat_map(|(p, o, _)| [*p, *o]).fold(0.1, f64::max);
    let top = (top * 1.08).min(1.0);
    let (left, size) = (56.0, 320.0);
    let x = |v: f64| left + v / top * size;
    let y = |v: f64| 12.0 + size - v / top * size;
    let mut svg = String::from(
        "<svg viewBox='0 0 420 390' role='img' aria-label='Reliability: observed share of deaths \
         over predicted probability' class='square'>",
    );
    for tick in ticks(0.0, top) {
        let _ = write!(
            svg,
            "<line class='grid' x1='{0:.1}' x2='{0:.1}' y1='12' y2='{1:.1}'/><line class='grid' \
             x1='{left}' x2='{2:.1}' y1='{3:.1}' y2='{3:.1}'/><text class='tick' x='{0:.1}' \
             y='{4:.1}' text-anchor='middle'>{6}</text><text class='tick' x='{5:.1}' y='{7:.1}' \
             text-anchor='end'>{6}</text>",
            x(tick),
            12.0 + size,
            left + size,
            y(tick),
            28.0 + size,
            left - 6.0,
            number(tick),
            y(tick) + 4.0
        );
    }
    let _ = write!(
        svg,
        "<line class='ideal' x1='{:.1}' y1='{:.1}' x2='{:.1}' y2='{:.1}'/>",
        x(0.0),
        y(0.0),
        x(top),
        y(top)
    );
    let line: Vec<String> =
        groups.iter().map(|(p, o, _)| format!("{:.1},{:.1}", x(*p), y(*o))).collect();
    let _ = write!(
        svg,
        "<polyline points='{}' fill='none' stroke='#0072B2' stroke-width='1.6'/>",
        line.join(" ")
    );
    for (p, o, _) in groups {
        svg += &Mark::Disc.at(x(*p), y(*o));
    }
    let _ = write!(
        svg,
        "<text class='axis' x='{:.1}' y='{:.1}' text-anchor='middle'>predicted probability</text>\
         <text class='axis' transform='translate(14 {:.1}) rotate(-90)' \
         text-anchor='middle'>observed share</text></svg>",
        left + size / 2.0,
        size + 50.0,
        12.0 + size / 2.0
    );
    svg
}

/// One bar, its length in proportion to its value.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// What stands at its end.
    pub(super) told: String,
}

/// Bars below each other, from 0; `None` without a value above 0.
pub(super) fn bars(all: &[Bar], what: &str) -> Option<String> {
    /// Room for a bar, and for what stands at its end.
    const HEIGHT: f64 = 24.0;
    const END: f64 = 80.0;
    let most = all.iter().map(|bar| bar.value).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let mut svg = open(all.len() as f64 * HEIGHT + 8.0, what);
    for (place, bar) in all.iter().enumerate() {
        let y = 4.0 + place as f64 * HEIGHT;
        let length = bar.value / most * (WIDTH - LEFT - RIGHT - END);
        let _ = write!(
            svg,
            "<text class='label' x='0' y='{:.1}'>{}</text><rect class='bar' x='{LEFT}' y='{:.1}' \
             width='{length:.1}' height='14'/><text class='tick' x='{:.1}' y='{0:.1}'>{}</text>",
            y + 15.0,
            escape(&bar.label),
            y + 4.0,
            LEFT + length + 8.0,
            escape(&bar.told)
        );
    }
    svg += &format!("<line class='zero' x1='{LEFT}' x2='{LEFT}' y1='4' y2='{:.1}'/></svg>", {
        4.0 + all.len() as f64 * HEIGHT
    });
    Some(svg)
}

fn open(height: f64, what: &str) -> String {
    format!(
        "<svg viewBox='0 0 {WIDTH} {height:.0}' role='img' aria-label='{}'>",
        escape(what).replace('\'', "&#39;")
    )
}

/// A tick's number without needless digits; a true minus sign.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" || text.is_empty() { "0".to_owned() } else { text.replace('-', "−") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        for (low, high) in [(0.0, 1.0), (-0.03, 0.11), (0.471, 0.4822)] {
            let all = ticks(low, high);
            assert!((3..=9).contains(&all.len()), "{all:?}");
            assert!(all.iter().all(|t| (low..=high + 1e-9).contains(t)));
        }
        assert_eq!(number(-0.05), "−0.05");
        assert_eq!(number(0.0), "0");
    }

    #[test]
    fn curves_keep_inside_and_nothing_makes_none() {
        let line = |points: &[(f64, f64)]| Curve { mark: Mark::Disc, points: points.to_vec() };
        let all = [line(&[(1.0, 0.3), (20.0, 0.0), (200.0, 2e-4)])];
        let axes = Axes::of(&all, Some(0.005)).unwrap();
        for (x, y) in &all[0].points {
            assert!((Axes::LEFT..=WIDTH - RIGHT).contains(&axes.x(*x)));
            assert!((Axes::TOP..=Axes::TOP + Axes::HEIGHT).contains(&axes.y(*y)));
        }
        assert!(axes.y(0.3) < axes.y(0.005) && axes.y(0.005) < axes.y(2e-4));
        let svg = curves(&all, "evaluations", "risk", Some(0.005)).unwrap();
        assert!(svg.contains(">200<") && svg.contains(">0.1<") && svg.contains("ideal"));
        assert_eq!(curves(&[line(&[(1.0, 0.0)])], "a", "b", None), None);
    }
}

//! Burden against recall as a picture: one line for each persistence and refractory time, one
//! point for each threshold.

use std::collections::BTreeMap;

use super::sweep::Judged;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 70.0;
const RIGHT: f64 = 740.0;
const BOTTOM: f64 = 400.0;
/// Okabe and Ito's colours, told apart by every eye.
const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];
/// The colours are told apart by their dashes too.
const DASHES: [&str; 4] = ["none", "6 3", "2 3", "8 3 2 3"];

/// What the figure is drawn to.
struct Scale {
    /// Alerts per patient-day at the right end.
    highest: f64,
}

/// A whole SVG document. Without labels the height is the share of stays with an alert.
pub fn svg(judged: &[Judged], chosen: Option<&Judged>, limit: f64, about: &str) -> String {
    let highest = judged.iter().map(Judged::burden).fold(limit, f64::max).max(0.1);
    let scale = Scale { highest };
    let labelled = judged.iter().any(|one| one.recall().is_some());
    let what = if labelled { "deaths foreseen" } else { "stays alerted (no labels)" };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\"><title>Burden against recall</title>\
         <desc>{0}</desc><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">Alert burden against {what}</text>\
         <text x=\"{LEFT}\" y=\"44\" font-size=\"10\">{0}</text>\n",
        escaped(about)
    );
    scale.axes(limit, &mut out);
    let mut lines: BTreeMap<(usize, i64), Vec<&Judged>> = BTreeMap::new();
    for one in judged {
        let key = (one.policy.persist, one.policy.refractory.as_millis());
        lines.entry(key).or_default().push(one);
    }
    for (n, ((persist, _), line)) in lines.into_iter().enumerate() {
        scale.line(COLOURS[persist % COLOURS.len()], DASHES[n % DASHES.len()], &line, &mut out);
    }
    if let Some(chosen) = chosen {
        let (x, y) = scale.place(chosen);
        out.push_str(&format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\" fill=\"none\" stroke=\"#000\" \
             stroke-width=\"2\"/><text x=\"{LEFT}\" y=\"{}\" font-size=\"11\">Chosen: {}</text>\n",
            BOTTOM + 60.0,
            escaped(&chosen.to_string())
        ));
    }
    out.push_str("</svg>\n");
    out
}

impl Scale {
    fn x(&self, burden: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * burden / self.highest
    }

    fn y(&self, share: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * share
    }

    fn place(&self, one: &Judged) -> (f64, f64) {
        (self.x(one.burden()), self.y(one.recall().unwrap_or(one.reach())))
    }

    fn axes(&self, limit: f64, out: &mut String) {
        for tick in 0..=4 {
            let share = f64::from(tick) / 4.0;
            let burden = share * self.highest;
            out.push_str(&format!(
                "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\" \
                 stroke=\"#ddd\"/><text x=\"{left}\" y=\"{y:.1}\" text-anchor=\"end\">\
                 {percent:.0} %</text><text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">\
                 {burden:.2}</text>\n",
                y = self.y(share),
                left = LEFT - 6.0,
                percent = share * 1e2,
                x = self.x(burden),
                below = BOTTOM + 16.0,
            ));
        }
        out.push_str(&format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">alerts of risk per patient-day\
             </text>\n<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\" \
             stroke=\"#555\" stroke-dasharray=\"4 4\"><title>the limit</title></line>\n",
            (LEFT + RIGHT) / 2.0,
            BOTTOM + 34.0,
            x = self.x(limit)
        ));
    }

    fn line(&self, colour: &str, dash: &str, line: &[&Judged], out: &mut String) {
        let places: Vec<String> =
            line.iter().map(|one| self.place(one)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        out.push_str(&format!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-dasharray=\"{dash}\" \
             points=\"{}\"/>\n",
            places.join(" ")
        ));
        for one in line {
            let (x, y) = self.place(one);
            out.push_str(&format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"><title>{}\
                 </title></circle>\n",
                escaped(&one.to_string())
            ));
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

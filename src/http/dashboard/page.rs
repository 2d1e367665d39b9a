//! The frame of every page: banner, navigation, mode, feed, and the controls of time.

use maud::{DOCTYPE, Markup, html};

use super::format;
use super::ward::Band;
use crate::event::risk::Mode;
use crate::http::access::Visitor;
use crate::time::{EventTime, Span};

/// Which entry of the navigation is the current page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    Ward,
    Stay,
    Operations,
    Model,
    Evaluation,
    Audit,
    Other,
}

/// What the frame says, the same on every page.
#[derive(Clone, Debug, Default)]
pub struct Chrome {
    pub mode: Mode,
    pub at: Option<EventTime>,
    pub speed: u32,
    pub finished: bool,
    pub trouble: Option<String>,
    /// Wall clock of the newest news, as text.
    pub changed_at: Option<String>,
    /// Begin and end of what is recorded.
    pub span: Option<(EventTime, EventTime)>,
    /// Path of this page, for the controls of time.
    pub path: String,
    /// Where the page's updates come from; empty for a page without any.
    pub live: String,
    /// What is shown, in a sentence.
    pub provenance: String,
    /// Who has signed in; `None` where nobody is asked to.
    pub visitor: Option<Visitor>,
    /// Whether there is a log of looks that this visitor may read.
    pub audited: bool,
}

const LINKS: [(&str, &str, Here); 4] = [
    ("/ward", "Ward", Here::Ward),
    ("/operations", "Operations", Here::Operations),
    ("/model", "Model card", Here::Model),
    ("/evaluation", "Evaluation", Here::Evaluation),
];

/// A whole page.
pub fn frame(chrome: &Chrome, title: &str, here: Here, body: Markup) -> Markup {
    document(
        title,
        html! {
            (head(chrome, here))
            main #main tabindex="-1" data-live=(chrome.live) { (body) }
            (foot(chrome))
            div #said.hidden role="status" aria-live="polite" {}
            (help())
            script src="/assets/dashboard.js" defer {}
        },
    )
}

/// A page without navigation and script, for somebody who has not signed in.
pub fn plain(title: &str, body: Markup) -> Markup {
    document(
        title,
        html! {
            header.top { (research()) }
            main #main tabindex="-1" { (body) }
        },
    )
}

fn document(title: &str, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en-GB" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="dark light";
                meta name="referrer" content="no-referrer";
                meta name="robots" content="noindex, nofollow";
                title { (title) " · nowcxr" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/dashboard.css";
            }
            body {
                a.skip href="#main" { "Skip to content" }
                (content)
            }
        }
    }
}

fn research() -> Markup {
    html! {
        p.research role="note" {
            strong { "Research use only." }
            " Not a medical device, not clinically validated: no decision about a patient \
             may rest on this page."
        }
    }
}

fn head(chrome: &Chrome, here: Here) -> Markup {
    html! {
        header.top {
            (research())
            div.bar {
                a.brand href="/ward" aria-label="nowcxr, to the ward" {
                    svg viewBox="0 0 32 32" aria-hidden="true" {
                        path.lung d="M14 6v10c0 2-3 3-5 5-2 1-5 3-5 0 0-7 3-13 6-14 2-1 4 0 4 3z" {}
                        path.lung d="M18 6v10c0 2 3 3 5 5 2 1 5 3 5 0 0-7-3-13-6-14-2-1-4 0-4 3z" {}
                        path.pulse d="M2 26h8l3-5 4 8 3-5h10" {}
                    }
                    span { "nowcxr" }
                }
                nav aria-label="Pages" { ul {
                    @for (href, words, page) in LINKS {
                        li { a href=(href) aria-current=[(page == here).then_some("page")] {
                            (words)
                        } }
                    }
                    @if chrome.audited {
                        li { a href="/audit" aria-current=[(here == Here::Audit)
                            .then_some("page")] { "Audit log" } }
                    }
                } }
                div.chips {
                    (feed_chip(chrome))
                    (mode_chip(chrome))
                    button.quiet #theme type="button" hidden { "Theme: auto" }
                    button.quiet #help-open type="button" hidden aria-haspopup="dialog" { "?" }
                    @if let Some(visitor) = &chrome.visitor { (signed_in(visitor)) }
                }
            }
            p #frozen.frozen-bar role="alert" hidden[chrome.trouble.is_none()] {
                @if let Some(trouble) = &chrome.trouble {
                    "Data frozen at " (chrome.changed_at.as_deref().unwrap_or("–")) ": " (trouble)
                }
            }
            @if has_time(chrome, here) { (time_bar(chrome)) }
        }
    }
}

fn has_time(chrome: &Chrome, here: Here) -> bool {
    matches!(here, Here::Ward | Here::Stay) && chrome.span.is_some()
}

fn feed_chip(chrome: &Chrome) -> Markup {
    let (class, words) = match chrome {
        Chrome { trouble: Some(_), .. } => ("stop", "feed broken"),
        Chrome { finished: true, .. } => ("done", "recording complete"),
        _ => ("on", "feed live"),
    };
    html! {
        span #feed class=(format!("chip feed {class}")) {
            svg viewBox="0 0 12 12" aria-hidden="true" { circle cx="6" cy="6" r="4" {} }
            span.text { (words) }
        }
    }
}

fn signed_in(visitor: &Visitor) -> Markup {
    html! {
        span.chip.visitor { (visitor.name) ", " (visitor.role) }
        form action="/logout" method="post" { button.quiet type="submit" { "Sign out" } }
    }
}

fn mode_chip(chrome: &Chrome) -> Markup {
    let mode = match chrome.mode {
        Mode::Silent => "SILENT",
        Mode::Passive => "PASSIVE",
        Mode::Interruptive => "INTERRUPTIVE",
    };
    html! {
        span.chip.mode title="Whether anyone may be disturbed by the output" { (mode) }
        @if chrome.at.is_some() {
            span #replay-chip.chip.replay {
                @if chrome.speed > 0 { "REPLAY ×" (chrome.speed) } @else { "REPLAY paused" }
            }
        }
    }
}

/// Play, pause, speed and seek over what is recorded; links where there is no script.
fn time_bar(chrome: &Chrome) -> Markup {
    let Some((first, last)) = chrome.span else { return html! {} };
    let Some(at) = chrome.at else {
        return html! {
            div.time-bar.off {
                a.button.quiet href=(format!("{}?at={}", chrome.path, format::machine(last))) {
                    "Time travel"
                }
                span.faint { "Recorded from " (format::stamp(first)) " to " (format::stamp(last)) }
            }
        };
    };
    let step = |span: Span| {
        let to = at.saturating_add(span).clamp(first, last);
        format!("{}?at={}", chrome.path, format::machine(to))
    };
    html! {
        div.time-bar #time role="group" aria-label="Replay" data-first=(first.as_millis())
            data-last=(last.as_millis()) data-at=(at.as_millis()) data-path=(chrome.path)
            data-speed=(chrome.speed) {
            button #play.button type="button" hidden { "▶ Play" }
            label.speed #speed-label hidden { span.hidden { "Speed" }
                select #speed {
                    @for speed in [1, 10, 60, 300, 1_800, 3_600] {
                        option value=(speed) selected[speed == chrome.speed.max(300)] {
                            "×" (speed)
                        }
                    }
                }
            }
            a.button.quiet.step href=(step(Span::hours(-6))) aria-label="6 hours back" { "−6 h" }
            a.button.quiet.step href=(step(Span::hours(-1))) aria-label="1 hour back" { "−1 h" }
            label.seek #seek-label hidden { span.hidden { "Moment of the recording" }
                input #seek type="range" min=(first.as_millis()) max=(last.as_millis())
                    step="60000" value=(at.as_millis()) aria-valuetext=(format::stamp(at));
            }
            a.button.quiet.step href=(step(Span::hours(1))) aria-label="1 hour on" { "+1 h" }
            a.button.quiet.step href=(step(Span::hours(6))) aria-label="6 hours on" { "+6 h" }
            time #virtual.clock datetime=(format::machine(at)) { (format::stamp(at)) }
            a.button.quiet href=(chrome.path.clone()) {
                @if chrome.finished { "To the end" } @else { "Back to now" }
            }
        }
    }
}

fn foot(chrome: &Chrome) -> Markup {
    html! {
        footer.foot {
            p { (chrome.provenance) }
            p.faint { "nowcxr " (env!("CARGO_PKG_VERSION")) " · times in UTC as recorded · nothing \
                on this page comes from, or goes to, another host"
                @if let Some(changed_at) = &chrome.changed_at {
                    " · newest data read at " (changed_at)
                }
            }
        }
    }
}

const KEYS: [(&str, &str); 6] = [
    ("/", "find a stay"),
    ("j, k", "next, previous stay"),
    ("Enter", "open the stay"),
    ("Space", "play or pause the replay"),
    ("t", "theme: auto, dark, light"),
    ("?", "this help"),
];

fn help() -> Markup {
    html! {
        dialog #help aria-labelledby="help-title" {
            h2 #help-title { "Keys" }
            dl.keys {
                @for (key, words) in KEYS { div { dt { kbd { (key) } } dd { (words) } } }
            }
            form method="dialog" { button type="submit" { "Close" } }
        }
    }
}

/// One, two or three bars: the band for those who see no colours.
pub fn bars(band: Band) -> Markup {
    let n = Band::ALL.iter().position(|one| *one == band).unwrap_or_default();
    html! {
        svg.bars viewBox="0 0 14 12" aria-hidden="true" {
            @for bar in 0..3usize {
                rect.on[bar <= n] x=(bar * 5) y=(8 - bar * 4) width="3.4" height=(4 + bar * 4) {}
            }
        }
    }
}

/// A page that says why there is nothing.
pub fn message(chrome: &Chrome, title: &str, text: &str) -> Markup {
    let body = html! {
        section.empty { h1 { (title) } p { (text) } p { a href="/ward" { "To the ward" } } }
    };
    frame(chrome, title, Here::Other, body)
}

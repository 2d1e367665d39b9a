//! The films: the last one taken, the estimate for now, and the next one when it has come. None is
//! called real: those of a synthetic ward are drawn.

use maud::{Markup, html};

use super::StayPage;
use crate::http::dashboard::board;
use crate::http::dashboard::format;
use crate::http::dashboard::ward::FilmNote;
use crate::time::Span;

impl StayPage<'_> {
    /// The panel of films. The estimate is folded away until somebody asks for it.
    pub fn films(&self) -> Markup {
        let used = self.tile.scored.or(Some(self.tile.newest)).and_then(|moment| moment.film);
        html! {
            section.card.films-card aria-labelledby="films-title" data-film-tools="" {
                h2 #films-title { "Chest films" }
                @match used {
                    None => p.faint { "No chest film had been taken, or none was usable, by this \
                        moment. The risk above rests on the EHR alone." },
                    Some((acquired_at, _)) => {
                        (tools())
                        div.panes {
                            (self.last(acquired_at))
                            (self.estimate())
                            (self.next(acquired_at))
                        }
                    },
                }
            }
        }
    }

    fn last(&self, acquired_at: crate::time::EventTime) -> Markup {
        let note = self.stay.film_of(acquired_at);
        html! {
            figure.pane {
                figcaption {
                    strong { "Last film" } " as taken, " (view_of(note)) ", acquired "
                    (format::stamp(acquired_at))
                    p.badges { (board::film_badge(self.tile.film_age)) }
                }
                div.viewport {
                    img.pixels src=(format!("/stay/{}/film/{}", self.id, acquired_at.as_millis()))
                        width="448" height="448"
                        alt=(format!("Chest film of {}, {}", format::stamp(acquired_at),
                            view_of(note)));
                }
            }
        }
    }

    fn estimate(&self) -> Markup {
        let moment = self.tile.scored.unwrap_or(self.tile.newest);
        let drawn = moment.view.is_some() && moment.carry_forward.is_some();
        let fresh = moment.film_age(moment.t).is_some_and(|(age, _)| age < Span::hours(12));
        html! {
            figure.pane.generated-pane {
                figcaption {
                    strong { "Generated estimate" } " for " (format::stamp(moment.t))
                    p.faint { "Drawn by the model from the last film and the EHR since. Not a \
                        radiograph: do not diagnose from it."
                        @if fresh { " The last film is younger than 12 h, so it adds little." } }
                }
                @if drawn {
                    details #generated {
                        summary { "Show the generated estimate" }
                        div.viewport.generated {
                            img.pixels.generated loading="lazy" width="448" height="448"
                                src=(format!("/stay/{}/generated/{}/{}", self.id,
                                    moment.t.as_millis(), moment.revision))
                                alt="AI-generated estimate of the chest, not a radiograph";
                        }
                        p.faint { a href=(format!("/stay/{}/generated/{}/{}/dicom", self.id,
                            moment.t.as_millis(), moment.revision)) download {
                            "Export as DICOM Secondary Capture, marked as synthetic" } }
                    }
                } @else {
                    p.viewport.vacant { "No estimate was generated for this window." }
                }
            }
        }
    }

    /// The next film. Seen from a past moment it lies in the future, and says so.
    fn next(&self, acquired_at: crate::time::EventTime) -> Markup {
        let t = self.tile.scored.unwrap_or(self.tile.newest).t;
        let next = self.stay.films.iter().find(|film| {
            film.acquired_at > acquired_at && film.acquired_at > t && self.at.is_some()
        });
        html! {
            figure.pane {
                @match next {
                    Some(film) => {
                        figcaption {
                            strong { "What happened" } " the next film, " (view_of(Some(film)))
                            ", acquired " (format::stamp(film.acquired_at))
                            p.badges { span.badge.flag { "came "
                                (format::age(film.acquired_at.since(t))) " later: not known then"
                            } }
                        }
                        div.viewport {
                            img.pixels src=(format!("/stay/{}/film/{}", self.id,
                                film.acquired_at.as_millis())) loading="lazy" width="448"
                                height="448" alt=(format!("Chest film of {}",
                                    format::stamp(film.acquired_at)));
                        }
                    },
                    None => {
                        figcaption { strong { "Next film" }
                            @if self.tile.ended.is_some() {
                                p.faint { "None came before the stay ended." }
                            } @else {
                                p.faint { "Has not come yet. When it does, it stands here beside \
                                    the estimate." }
                            }
                        }
                        p.viewport.vacant {
                            @if self.tile.ended.is_some() { "none" } @else { "waiting" }
                        }
                    },
                }
            }
        }
    }
}

fn view_of(note: Option<&FilmNote>) -> &'static str {
    note.map_or("view not told", |film| format::view(film.view))
}

fn tools() -> Markup {
    html! {
        form.film-tools hidden {
            label { "Brightness " input type="range" name="level" min="40" max="220" value="100"; }
            label { "Contrast " input type="range" name="window" min="40" max="300" value="100"; }
            label { "Zoom " input type="range" name="zoom" min="100" max="300" value="100"; }
            label { input type="checkbox" name="invert"; " Invert" }
            button.quiet type="reset" { "Reset" }
            span.faint { "For films as taken; the estimate is never altered." }
        }
    }
}

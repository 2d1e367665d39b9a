//! The model card: what a reader must know of the model before its scores, limits first, out of the
//! model's own directory.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

use super::markdown::markdown;
use super::page::{self, Here};
use super::{App, format};
use crate::event::dictionary::{Dictionary, Kind, Profile, Variable};
use crate::http::access::Visitor;
use crate::model::described::{Described, DescribedFile, FileState};

/// `GET /model`.
pub async fn model(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
) -> Html<String> {
    let chrome = app.chrome("/model", (None, 0), &visitor);
    let path = app.model.clone();
    let read = tokio::task::spawn_blocking(move || Described::read(&path)).await;
    let body = match read {
        Ok(Ok(told)) => card(&told, &app.shared.dictionary),
        Ok(Err(why)) => unknown(&why.to_string()),
        Err(why) => unknown(&why.to_string()),
    };
    Html(page::frame(&chrome, "Model card", Here::Model, body).into_string())
}

fn unknown(why: &str) -> Markup {
    html! {
        h1 { "Model card" }
        p { "The model's directory cannot be read, so nothing is known of the model: " (why) }
    }
}

fn card(told: &Described, dictionary: &Dictionary) -> Markup {
    let about = &told.about;
    html! {
        h1 { (about.name) " " (about.version) }
        div.stay {
            section.card.half { h2 { "Limits" }
                p { strong { "Research use only." } " These hold for every prediction of this \
                    model:" }
                ul.doubts {
                    @for doubt in &about.doubts { li { (doubt.words()) } }
                    @if about.doubts.is_empty() { li { "the model itself names none" } }
                    li { (hours(about.any_hour)) }
                    li { "its films must be frontal AP views of the chest" }
                    li { "its inputs are held within the bounds below before it sees them" }
                }
            }
            section.card.half { h2 { "What it is" }
                dl.facts {
                    div { dt { "Says" } dd { "risk of in-hospital death and 25 phenotypes of the \
                        stay, from the EHR, the last film and the film generated as of now" } }
                    div { dt { "Trained on" } dd { (about.trained_on) } }
                    div { dt { "Calibrated on" } dd { (told.calibrated_on) } }
                    div { dt { "Input" } dd { (profile(about.profile)) } }
                    div { dt { "Digest" } dd { code { (told.digest) } " – that of the events it \
                        made, under Basis on a stay's page" } }
                }
            }
            (inputs(dictionary))
            (files(&told.files))
            @if told.card.is_empty() {
                section.card { p { "There is no model_card.md that can be read." } }
            } @else {
                article.card.prose { (markdown(&told.card)) }
            }
        }
    }
}

fn hours(any: bool) -> &'static str {
    match any {
        true => "the method is published for 48 h after admission; other hours are an extension",
        false => "trained for 48 h after admission only: any other hour is outside of that",
    }
}

fn profile(profile: Profile) -> &'static str {
    match profile {
        Profile::Clinical => "clinical: declared units, blood specimens only",
        Profile::Reference => "reference: as the published code reads its data",
    }
}

/// What the model can see of each variable.
fn inputs(dictionary: &Dictionary) -> Markup {
    let seen = |one: &&Variable| one.columns.is_some();
    html! {
        section.card.half { h2 { "What it sees" }
            div.scroll tabindex="0" role="region" aria-label="Inputs" { table {
                thead { tr { th scope="col" { "Variable" } th scope="col" { "Unit" }
                    th scope="col" { "Held within" } th scope="col" { "If never observed" } } }
                tbody { @for one in dictionary.variables().iter().filter(seen) { tr {
                    th scope="row" { (one.label())
                        @if !one.trained { " (never in its training)" } }
                    td { (format::unit(&one.unit)) }
                    @match &one.kind {
                        Kind::Numeric { clamp: (low, high), normal, .. } => {
                            td { (format::value(*low)) "\u{a0}to\u{a0}" (format::value(*high)) }
                            td { (format::value(*normal)) }
                        }
                        Kind::Categorical { categories, normal, .. } => {
                            td { (categories.len()) "\u{a0}categories" }
                            td { (categories.get(*normal).map_or("–", String::as_str)) }
                        }
                    }
                } } }
            } }
        }
    }
}

fn files(files: &[DescribedFile]) -> Markup {
    html! {
        section.card.half { h2 { "Files" }
            div.scroll tabindex="0" role="region" aria-label="Files" { table {
                thead { tr { th scope="col" { "File" } th scope="col" { "Bytes" }
                    th scope="col" { "SHA-256" } th scope="col" { "State" } } }
                tbody { @for file in files { tr {
                    th scope="row" { (file.name) }
                    td { @match file.bytes { Some(bytes) => (bytes), None => "–" } }
                    td { code { (file.sha256.chars().take(16).collect::<String>()) } }
                    td { (state(file.state)) }
                } } }
            } }
            p.faint { "The first 16 of 64 digits; " code { "nowcxr model show" } " prints all." }
        }
    }
}

fn state(state: FileState) -> &'static str {
    match state {
        FileState::Whole => "as in the manifest",
        FileState::Altered => "ALTERED",
        FileState::Unread => "large: checked on load",
        FileState::Absent => "ABSENT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::risk::Doubt;
    use crate::ids::Digest;
    use crate::model::artifact::About;

    const HOSTILE: &str = "<script>alert(1)</script>";

    fn hostile(doubts: Vec<Doubt>) -> Described {
        let text = HOSTILE.to_owned();
        Described {
            about: About {
                name: text.clone(),
                version: text.clone(),
                trained_on: text.clone(),
                doubts,
                profile: Profile::Clinical,
                any_hour: false,
            },
            digest: Digest::of(b"x"),
            calibrated_on: text.clone(),
            card: format!("# {text}\n\n| {text} |\n|---|\n| `{text}` |\n\n- **{text}**\n"),
            files: vec![DescribedFile {
                name: text.clone(),
                bytes: None,
                sha256: text,
                state: FileState::Altered,
            }],
        }
    }

    #[test]
    fn limits_come_first_and_nothing_of_the_directory_gets_out() {
        let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
        let told = hostile(vec![Doubt::SyntheticTraining]);
        let html = card(&told, &dictionary).into_string();
        assert!(!html.contains("<script"), "{html}");
        let place = |what: &str| html.find(what).unwrap_or_else(|| panic!("no {what} in {html}"));
        assert!(place("trained on synthetic patients") < place("Trained on"));
        assert!(place("outside of that") < place("What it is"));
        assert!(html.contains("ALTERED") && html.contains(&told.digest.to_string()));
        // What the model cannot see of a fast heart.
        assert!(html.contains("33.2\u{a0}to\u{a0}144"));
        let none = card(&hostile(Vec::new()), &dictionary).into_string();
        assert!(none.contains("names none"));
    }
}

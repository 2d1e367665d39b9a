//! Answers to alerts: a form on the stay's page, and where what it says is written.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Router};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::App;
use super::feed::FeedError;
use super::follow::wall_now;
use super::ward::AlertNote;
use crate::event::alert::{Act, By, Deed, Snooze, Word};
use crate::http::access::{Role, Visitor};
use crate::ids::{AlertId, StayId};
use crate::time::EventTime;
use crate::wire::AlertState;

/// Bytes of the form.
const MAX_FORM: usize = 4 << 10;
/// Reasons for an override that the form offers; `nowcxr alerts dismiss` takes any.
const REASONS: [(&str, &str); 5] = [
    ("already_known", "already known"),
    ("not_plausible", "does not fit the patient"),
    ("data_wrong", "rests on wrong data"),
    ("no_action_possible", "nothing to be done"),
    ("other", "another reason"),
];

/// Where acts are written.
pub trait Acts: Send + Sync {
    /// When something was done that is being told at `now`, where the stay's alerts know of nothing
    /// after `newest`.
    fn moment(&self, now: EventTime, newest: Option<EventTime>) -> Option<EventTime>;

    /// Writes it; durable when this returns, and the same however often.
    ///
    /// # Errors
    /// [`FeedError`].
    fn write(&self, act: &Act) -> Result<(), FeedError>;
}

#[derive(Deserialize)]
struct Filled {
    deed: String,
    #[serde(default)]
    reason: String,
}

/// A dashboard without a place for acts answers to none.
pub fn routes() -> Router<Arc<App>> {
    let answer: MethodRouter<Arc<App>> = post(answer);
    Router::new().route("/stay/{id}/alert/{alert}", answer).layer(DefaultBodyLimit::max(MAX_FORM))
}

/// True if this visitor may answer alerts: whoever does must be known by a token.
pub fn may_answer(app: &App, visitor: &Visitor) -> bool {
    app.acts.is_some() && visitor.by_token && visitor.role >= Role::Clinician
}

/// What can be done about an alert; nothing about one that is over or finally answered.
pub fn form(stay: StayId, note: &AlertNote) -> Markup {
    let is_seen = note.state == AlertState::Acknowledged;
    let open = note.standing && (is_seen || note.state == AlertState::Open);
    let action = format!("/stay/{stay}/alert/{}", note.alert);
    let button = |deed: &str, words: &str| {
        html! {
            form action=(action) method="post" {
                input type="hidden" name="deed" value=(deed);
                button type="submit" { (words) }
            }
        }
    };
    html! {
        @if open { div.answers {
            @if !is_seen { (button("acknowledge", "Seen")) }
            (button("action", "Acted upon"))
            details #(format!("more-{}", note.alert)) {
                summary { "More" }
                @for hours in [Snooze::OneHour, Snooze::FourHours, Snooze::TwelveHours] {
                    (button(&format!("snooze-{}", hours.hours()),
                        &format!("Quiet for {} h", hours.hours())))
                }
                form action=(action) method="post" {
                    input type="hidden" name="deed" value="dismiss";
                    label { "Override: "
                        select name="reason" required {
                            option value="" { "why?" }
                            @for (code, words) in REASONS { option value=(code) { (words) } }
                        }
                    }
                    button type="submit" { "Override" }
                }
            }
        } }
    }
}

/// What the form says; `None` for what it cannot say.
fn deed(alert: AlertId, filled: &Filled) -> Option<Deed> {
    match filled.deed.as_str() {
        "acknowledge" => Some(Deed::Acknowledge(alert)),
        "action" => Some(Deed::Action(alert)),
        "dismiss" => Some(Deed::Dismiss(alert, Word::new(&filled.reason)?)),
        other => {
            let hours = other.strip_prefix("snooze-")?.parse().ok()?;
            Some(Deed::Snooze(alert, Snooze::from_hours(hours)?))
        }
    }
}

/// `POST /stay/{id}/alert/{alert}`. The page shows what came of it as soon as the service has heard
/// it, which is a moment later.
async fn answer(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path((id, alert)): Path<(u64, Uuid)>,
    Form(filled): Form<Filled>,
) -> Response {
    let (stay, alert) = (StayId(id), AlertId(alert));
    let Some(acts) = app.acts.clone().filter(|_| may_answer(&app, &visitor)) else {
        let why = "alerts are answered by those who have signed in, over a running service";
        return (StatusCode::FORBIDDEN, why).into_response();
    };
    let Some(deed) = deed(alert, &filled) else {
        let why = "deed is acknowledge, action, snooze-1, snooze-4, snooze-12, or dismiss with a \
                   reason of one line";
        return (StatusCode::BAD_REQUEST, why).into_response();
    };
    let known = app.shared.ward().stay(stay).map(|stay| {
        let alerts = stay.alerts(None);
        let is_there = alerts.iter().any(|note| note.alert == alert);
        (is_there, alerts.iter().map(|note| note.known_at).max())
    });
    let Some((true, newest)) = known else {
        return (StatusCode::NOT_FOUND, "there is no such alert of this stay").into_response();
    };
    let now = EventTime::from_millis(wall_now().as_millis());
    let Some(at) = acts.moment(now, newest) else {
        return (StatusCode::NOT_FOUND, "there is no such alert of this stay").into_response();
    };
    let by = By { role: Word::new(visitor.role.name()), at };
    let act = Act::new(stay, deed, by);
    match tokio::task::spawn_blocking(move || acts.write(&act)).await {
        Ok(Ok(())) => {
            Redirect::to(&format!("/stay/{id}?told={alert}#alerts-title")).into_response()
        }
        Ok(Err(error)) => {
            tracing::error!(%stay, "an answer to an alert is not written: {error}");
            let why = format!("Not written: {error}. Go back and try again.");
            (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_what_can_be_done_and_nothing_else() {
        let alert = AlertId(Uuid::nil());
        let said = |deed_: &str, reason: &str| {
            deed(alert, &Filled { deed: deed_.to_owned(), reason: reason.to_owned() })
        };
        assert_eq!(said("acknowledge", ""), Some(Deed::Acknowledge(alert)));
        assert_eq!(said("snooze-4", ""), Some(Deed::Snooze(alert, Snooze::FourHours)));
        for (code, _) in REASONS {
            let reason = Word::new(code).expect("a word");
            assert_eq!(said("dismiss", code), Some(Deed::Dismiss(alert, reason)));
        }
        for (wrong, reason) in [("dismiss", ""), ("snooze-5", ""), ("", ""), ("release", "")] {
            assert_eq!(said(wrong, reason), None, "{wrong}");
        }
    }
}

//! Who may answer an alert on its stay's page, and what is written then. That it reaches the topic
//! of acknowledgements is shown by `tests/kafka_service`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nowcxr::event::alert::{Act, Deed, Snooze};
use nowcxr::http::access::Role;
use nowcxr::http::dashboard::Acts;
use nowcxr::http::dashboard::feed::FeedError;
use nowcxr::ids::StayId;
use nowcxr::time::EventTime;

use super::access::{FORM, Guarded, guarded_with, header, status};
use super::site::{alert, ask, get, send_alert, site};

/// Takes acts, unless told otherwise.
#[derive(Default)]
struct Taken {
    acts: Mutex<Vec<Act>>,
    is_down: Mutex<bool>,
}

impl Acts for Taken {
    fn moment(&self, _: EventTime, newest: Option<EventTime>) -> Option<EventTime> {
        newest
    }

    fn write(&self, act: &Act) -> Result<(), FeedError> {
        if *self.is_down.lock().expect("a lock") {
            return Err(FeedError("no broker".to_owned()));
        }
        self.acts.lock().expect("a lock").push(act.clone());
        Ok(())
    }
}

/// A site whose stay 1 has an open alert.
fn alerted() -> (Guarded, Arc<Taken>) {
    let taken = Arc::new(Taken::default());
    let acts = Arc::clone(&taken) as Arc<dyn Acts>;
    let mut site = guarded_with(|dir| dir.join("audit.jsonl"), Some(acts));
    send_alert(&mut site.site.outlet, 2, &alert(1));
    let until = Instant::now() + Duration::from_secs(10);
    while !page(&site, Role::Clinician).contains("data-alert") {
        assert!(Instant::now() < until, "the alert was never read");
        std::thread::sleep(Duration::from_millis(20));
    }
    (site, taken)
}

fn page(site: &Guarded, role: Role) -> String {
    let bearer = format!("Bearer {}", site.token(role));
    ask(site.address(), "GET /stay/1", &[("Authorization", &bearer)], "")
}

fn answer(site: &Guarded, role: Role, path: &str, body: &str) -> String {
    let bearer = format!("Bearer {}", site.token(role));
    ask(site.address(), &format!("POST {path}"), &[("Authorization", &bearer), FORM], body)
}

#[test]
fn who_has_signed_in_answers_an_alert_and_it_is_written_down() {
    let (site, taken) = alerted();
    let path = format!("/stay/1/alert/{}", alert(1).alert_id);
    assert!(page(&site, Role::Clinician).contains(&format!("action=\"{path}\"")));

    assert_eq!(status(&answer(&site, Role::Viewer, &path, "deed=acknowledge")), 403);
    let elsewhere = ask(site.address(), &format!("POST {path}"), &[FORM], "deed=acknowledge");
    assert_eq!(status(&elsewhere), 401);
    let told = answer(&site, Role::Clinician, &path, "deed=acknowledge");
    let back = format!("/stay/1?told={}#alerts-title", alert(1).alert_id);
    assert_eq!((status(&told), header(&told, "location")), (303, Some(back.as_str())));
    assert_eq!(status(&answer(&site, Role::Admin, &path, "deed=snooze-4")), 303);

    let acts = taken.acts.lock().expect("a lock").clone();
    let [seen, quiet] = acts.as_slice() else { panic!("two acts, not {acts:?}") };
    assert_eq!((seen.stay, &seen.deed), (StayId(1), &Deed::Acknowledge(alert(1).alert_id)));
    assert_eq!(seen.by.role.as_ref().map(|role| role.as_str()), Some("clinician"));
    assert_eq!(seen.by.at, alert(1).known_at);
    assert_eq!(quiet.deed, Deed::Snooze(alert(1).alert_id, Snooze::FourHours));
    let answers: Vec<_> =
        site.looks().into_iter().filter(|(_, _, what, _)| what == "answer to an alert").collect();
    assert_eq!(answers.len(), 3, "the refused one too: {answers:?}");
    assert_eq!(answers[1].0, "clinician-1");
}

#[test]
fn what_cannot_be_an_answer_is_refused_and_says_why() {
    let (site, taken) = alerted();
    let path = format!("/stay/1/alert/{}", alert(1).alert_id);
    let clinician = |path: &str, body: &str| status(&answer(&site, Role::Clinician, path, body));
    for wrong in ["deed=release", "deed=snooze-5", "deed=dismiss&reason=", "deed="] {
        assert_eq!(clinician(&path, wrong), 400, "{wrong}");
    }
    assert_eq!(clinician(&path.replace("/stay/1/", "/stay/2/"), "deed=action"), 404);
    let other = "/stay/1/alert/00000000-0000-0000-0000-000000000000";
    assert_eq!(clinician(other, "deed=action"), 404);
    *taken.is_down.lock().expect("a lock") = true;
    let unwritten = answer(&site, Role::Clinician, &path, "deed=action");
    assert_eq!(status(&unwritten), 503);
    assert!(unwritten.contains("Not written: no broker"), "{unwritten}");
    assert!(taken.acts.lock().expect("a lock").is_empty());
}

#[test]
fn an_open_site_and_a_recording_answer_nothing() {
    let mut site = site();
    send_alert(&mut site.outlet, 2, &alert(1));
    let until = Instant::now() + Duration::from_secs(10);
    let shown = loop {
        let shown = get(site.address, "/stay/1", "localhost");
        if shown.contains("data-alert") {
            break shown;
        }
        assert!(Instant::now() < until, "the alert was never read");
    };
    assert!(!shown.contains("name=\"deed\""), "{shown}");
    let path = format!("POST /stay/1/alert/{}", alert(1).alert_id);
    let headers = [("Host", "localhost"), FORM];
    assert_eq!(status(&ask(site.address, &path, &headers, "deed=acknowledge")), 403);
}

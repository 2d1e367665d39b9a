//! Pages, headers, hostile input, and how fast an update arrives.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nowcxr::event::risk::StayEnd;
use nowcxr::ids::StayId;
use nowcxr::time::Span;
use nowcxr::wire::AlertRecord;

use super::site::{alert, get, risk, send, send_alert, site};

#[test]
fn every_page_answers_under_the_strict_policy_and_escapes_what_it_shows() {
    let site = site();
    let pages = [
        "/ward",
        "/ward?view=table&sort=risk&show=all",
        "/ward?q=%3Cscript%3Ealert(1)%3C/script%3E&unit=%22%3E%3Cscript%3E",
        "/ward?at=nonsense&speed=-1",
        "/stay/1",
        "/operations",
        "/model",
        "/assets/dashboard.js",
    ];
    for path in pages {
        let answer = get(site.address, path, "127.0.0.1:1");
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {}", &answer[..80]);
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{path}");
        assert!(!answer.contains("<script>"), "{path} shows something unescaped");
        assert!(!answer.contains(" style="), "{path} has an inline style");
    }
    assert!(get(site.address, "/stay/1", "localhost").contains("&lt;script&gt;"));
}

#[test]
fn the_report_has_its_own_style_and_nothing_else() {
    let site = site();
    let answer = get(site.address, "/evaluation", "localhost");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // printf 'p{margin:0}' | openssl dgst -sha256 -binary | base64
    let style = "style-src 'sha256-QRQPRLGyxt3RJiKpYNjpkgHcmHU2PywsfL2e8oI0LQA='";
    let policy = "content-security-policy: default-src 'none'; ";
    assert!(answer.contains(&format!("{policy}{style}; frame-ancestors 'none'")), "{answer}");
    assert_eq!(answer.matches("content-security-policy").count(), 1);
    assert!(answer.contains("Back to the ward") && answer.contains("AUROC"), "{answer}");
}

#[test]
fn the_model_card_is_that_of_the_models_directory() {
    let page = get(site().address, "/model", "localhost");
    let manifest = include_str!("../../models/demo/manifest.json");
    let manifest: serde_json::Value = serde_json::from_str(manifest).expect("JSON");
    let (name, trained) = (&manifest["name"], &manifest["trained_on"]);
    for said in [name, trained].map(|text| text.as_str().expect("text")) {
        assert!(page.contains(said), "{said}");
    }
    for said in ["Research use only", "as in the manifest", "What it sees", "nowcxr train --out"] {
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains("ALTERED") && !page.contains("ABSENT"));
}

#[test]
fn what_is_unknown_is_not_found_and_other_hosts_are_refused() {
    let site = site();
    let paths = ["/stay/2", "/stay/1?at=1970-01-01T00:00:00Z", "/stay/1/film/5", "/nothing"];
    for path in paths {
        assert!(get(site.address, path, "localhost").starts_with("HTTP/1.1 404"), "{path}");
    }
    let refused = get(site.address, "/ward", "evil.example");
    assert!(refused.starts_with("HTTP/1.1 421"), "{refused}");
}

#[test]
fn operations_says_what_was_read_and_what_this_process_counts() {
    let page = get(site().address, "/operations", "localhost");
    for said in ["Risk events read", "This process", "Dead letters", "reads well"] {
        assert!(page.contains(said), "{said}: {page}");
    }
}

/// The curve shows when alerts were raised; once the stay has ended, no film is waited for.
#[test]
fn the_curve_shows_alerts_and_an_ended_stay_waits_for_no_film() {
    let mut site = site();
    let raised = AlertRecord { t: risk(1).t, ..alert(1) };
    send_alert(&mut site.outlet, 2, &raised);
    let until = Instant::now() + Duration::from_secs(10);
    let page = loop {
        let page = get(site.address, "/stay/1", "localhost");
        if page.contains("data-alert") {
            break page;
        }
        assert!(Instant::now() < until, "the alert was never read");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(page.contains("alert-mark") && page.contains("an alert was raised"), "{page}");
    assert!(page.contains("Has not come yet") && !page.contains("before the stay ended"));
    let mut last = risk(1);
    last.t = last.t + Span::HOUR;
    last.known_at = last.t;
    last.stay_end = Some(StayEnd::Discharged);
    send(&mut site.outlet, 3, &last);
    site.wait_for(StayId(1), 2);
    let page = get(site.address, "/stay/1", "localhost");
    assert!(page.contains("None came before the stay ended") && !page.contains("Has not come yet"));
}

#[test]
fn an_update_reaches_an_open_page() {
    let mut site = site();
    let mut stream = TcpStream::connect(site.address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream.write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    let mut read_until = |what: &str| {
        while !seen.contains(what) {
            let n = stream.read(&mut buffer).expect("an event");
            assert!(n > 0, "the stream ended before {what}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    };
    read_until("event: beat");
    let sent = Instant::now();
    send(&mut site.outlet, 2, &risk(77));
    read_until("data-stay=\\\"77\\\"");
    println!("from the durable append to the open page: {:?}", sent.elapsed());
}

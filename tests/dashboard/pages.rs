//! Pages, headers, hostile input, and how fast an update arrives.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::site::{get, risk, send, site};

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

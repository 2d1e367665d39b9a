//! `token` and `audit verify`: what they print, what they refuse, and their exit codes.

use std::os::unix::fs::PermissionsExt as _;

use nowcxr::http::access::{Role, parse};
use nowcxr::ids::Digest;

use super::support::run;

#[test]
fn a_token_is_printed_once_and_only_its_hash_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.txt");
    std::fs::write(&file, "# ours").unwrap();
    let args = ["token", "ana", "--role", "clinician", "--file", "tokens.txt"];
    let token = run(dir.path(), &args).expect(0).out.trim().to_owned();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&token) && text.starts_with("# ours\n"), "{text}");
    let entries = parse(&text).unwrap();
    assert_eq!((&*entries[0].name, entries[0].role), ("ana", Role::Clinician));
    assert_eq!(entries[0].digest, Digest::of(token.as_bytes()));
    let again = run(dir.path(), &args).expect(1).err;
    assert!(again.contains("ana again"), "{again}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let set = ["token", "bo", "--role", "viewer", "--set", "http.tokens=new.txt", "--json"];
    let made = run(dir.path(), &set).expect(0).json();
    assert_eq!(made["name"], "bo");
    assert_eq!(made["role"], "viewer");
    let mode = std::fs::metadata(dir.path().join("new.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let nowhere = run(dir.path(), &["token", "cy", "--role", "viewer"]).expect(1).err;
    assert!(nowhere.contains("--file"), "{nowhere}");
    run(dir.path(), &["token", "cy", "--role", "king", "--file", "x"]).expect(2);
}

#[test]
fn a_log_that_is_not_whole_is_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let start = "0".repeat(64);
    let first = format!("{{\"previous\":\"{start}\",\"event\":{{}}}}");
    let head = Digest::of(first.as_bytes());
    let second = format!("{{\"previous\":\"{head}\",\"event\":{{}}}}");
    let write = |text: &str| std::fs::write(dir.path().join("looks.jsonl"), text).unwrap();
    let verify = |more: &[&str], code: i32| {
        run(dir.path(), &[&["audit", "verify", "looks.jsonl"][..], more].concat()).expect(code)
    };
    write(&format!("{first}\n{second}\n"));
    assert_eq!(verify(&["--json"], 0).json()["lines"], 2);
    assert!(verify(&["--head", &head.to_string()], 0).out.contains("whole"));
    assert!(verify(&["--head", &"1".repeat(64)], 1).out.contains("without the head"));
    write(&format!("{second}\n"));
    let broken = verify(&[], 1).err;
    assert!(broken.contains("not whole") && broken.contains("line 1"), "{broken}");
    let missing = run(dir.path(), &["audit", "verify"]).expect(1).err;
    assert!(missing.contains("nowcxr-audit.jsonl"), "{missing}");
}

#[test]
fn nothing_real_is_served_to_nobody_in_particular() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("run/log")).unwrap();
    let serve = ["serve", "--out", "run", "--listen", "127.0.0.1:0"];
    let refused = run(dir.path(), &serve).expect(1).err;
    assert!(refused.contains("http.tokens") && refused.contains("--open"), "{refused}");
    let tokens = ["--set", "http.tokens=tokens.txt"];
    let missing = run(dir.path(), &[&serve[..], &tokens].concat()).expect(1).err;
    assert!(missing.contains("tokens.txt") && missing.contains("nowcxr token"), "{missing}");
    let check = ["check", "--json", "--set", "http.listen=0.0.0.0:0"];
    let report = run(dir.path(), &check).json();
    let checks = report["checks"].as_array().unwrap();
    let row = checks.iter().find(|row| row["check"] == "http.tokens").unwrap();
    assert_eq!(row["verdict"], "warn", "{row}");
}

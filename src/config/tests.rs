//! Precedence, complaints, the reference and the digest.

use std::io::Write as _;

use super::*;
use crate::ids::Digest;
use crate::time::Span;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    file.write_all(text.as_bytes()).expect("write");
    file
}

fn from_file(text: &str) -> Result<Config, ConfigError> {
    Config::load(Some(file(text).path()), [], &[])
}

fn defaults() -> Config {
    Config::load(None, [], &[]).expect("defaults")
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_defaults_are_valid_and_those_of_the_engine() {
    assert_eq!(defaults().engine, EngineConfig::default());
    assert_eq!(defaults().alerts.mode, crate::event::risk::Mode::Silent);
}

#[test]
fn the_reference_says_every_key_and_reads_as_the_defaults() {
    let text = reference();
    assert_eq!(from_file(&text).expect("the reference is valid"), defaults());
    for key in KEYS {
        assert!(text.contains(&format!("\n{} = ", key.name())), "{}", key.path);
    }
    let table: toml::Table = text.parse().expect("TOML");
    let written: usize = table.values().filter_map(|s| s.as_table()).map(toml::Table::len).sum();
    assert_eq!(written, KEYS.len());
    assert!(text.lines().all(|line| line.len() <= 100));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = file("[engine]\nevery = \"2h\"\nlookback = \"2h\"\ngrace = \"2h\"\n");
    let variables = env(&[
        ("NOWCXR_ENGINE__LOOKBACK", "3h"),
        ("NOWCXR_ENGINE__GRACE", "3h"),
        ("NOWCXR_ENGINE__ON_FILM", "false"),
        ("NOWCXR_SHARED", "/not/a/key"),
        ("HOME", "/root"),
    ]);
    let flags = ["engine.grace=4h".to_owned(), "kafka.prefix = icu.".to_owned()];
    let config = Config::load(Some(file.path()), variables, &flags).expect("valid");
    assert_eq!(config.engine.every, Some(Span::hours(2)));
    assert_eq!(config.engine.lookback, Span::hours(3));
    assert_eq!(config.engine.grace, Span::hours(4));
    assert!(!config.engine.on_film);
    assert_eq!(config.kafka.prefix, "icu.");
}

#[test]
fn everything_wrong_is_said_at_once_with_its_place_and_advice() {
    let wrong = r#"
        stray = 1
        [engine]
        evry = "1h"
        every = "1 hour"
        revise_windows = -1
        late = "maybe"
        [predict]
        threads = 2000
        [kafka]
        brokers = "nowhere"
        [colour]
        red = 1
    "#;
    let variables = env(&[("NOWCXR_ENGINE__KEEP", "1m"), ("NOWCXR_STORE__DRI", "x")]);
    let file = file(wrong);
    let error = Config::load(Some(file.path()), variables, &["http.listen".to_owned()])
        .expect_err("many errors");
    let text = error.to_string();
    for expected in [
        "stray",
        "did you mean engine.every?",
        "engine.every",
        "is not a time",
        "from 0 to 168",
        "expected `keep` or `drop`",
        "predict.threads",
        "host:port",
        "the sections are engine,",
        "engine.keep (NOWCXR_ENGINE__KEEP) is not from 1h",
        "did you mean store.dir?",
        "write section.key=value",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert_eq!(error.0.len(), 11, "{text}");
}

#[test]
fn feeds_are_checked() {
    let complain = |list: &str| {
        from_file(&format!("[feeds]\nlist = {list}\n")).expect_err("wrong").to_string()
    };
    assert!(complain("[]").contains("is empty"));
    let twice = r#"[{name="a",topic="stay"},{name="a",topic="lab"}]"#;
    assert!(complain(twice).contains("twice"));
    assert!(
        complain(r#"[{name="a",topic="x"}]"#)
            .contains("stay, imaging, lab, vital, acknowledgement")
    );
    assert!(complain(r#"[{name="a b",topic="stay"}]"#).contains("letters"));
    assert!(complain(r#"[{name="a",topic="lab"}]"#).contains("no feed of topic stay"));
    assert!(complain(r#"[{name="a",topic="stay",x=1}]"#).contains("unknown key"));
    let late = r#"[{name="a",topic="stay",lateness="soon"}]"#;
    assert!(complain(late).contains("has a lateness of \"a\" that is not a time"));
    let people = r#"[{name="a",topic="acknowledgement",lateness="1m"}]"#;
    assert!(complain(people).contains("nobody waits"));
}

#[test]
fn a_feed_with_a_lateness_sends_no_marks_and_closes_windows_at_other_times() {
    let written = |lateness: &str| {
        let list = format!(r#"[{{name="in",topic="stay"}},{{name="l",topic="lab"{lateness}}}]"#);
        from_file(&format!("[feeds]\nlist = {list}\n")).expect("valid")
    };
    let (without, with) = (written(""), written(r#", lateness = "10m""#));
    let lateness = |config: &Config| config.engine.feeds[1].lateness;
    assert_eq!((lateness(&without), lateness(&with)), (None, Some(Span::minutes(10))));
    let digest = |config: &Config| config.digest(Digest::of(b"model"));
    assert_ne!(digest(&with), digest(&without));
    assert_ne!(digest(&with), digest(&written(r#", lateness = "11m""#)));
}

#[test]
fn what_fails_becomes_what_is_said_and_changes_no_payload() {
    let handlers = defaults().errors;
    assert_eq!(handlers, ErrorHandlers::default());
    let text =
        "[errors]\ndeserialization = \"fail\"\nprocessing = \"fail\"\nproduction = \"fail\"\n";
    let config = from_file(text).expect("valid");
    assert_eq!(config.errors.deserialization, RecordHandler::Fail);
    assert_eq!(config.errors.processing, RecordHandler::Fail);
    assert_eq!(config.errors.production, ProductionHandler::Fail);
    let model = Digest::of(b"model");
    assert_eq!(config.digest(model), defaults().digest(model));
    let skipped = from_file("[errors]\nproduction = \"dead_letter\"\n").expect_err("no such thing");
    assert!(skipped.to_string().contains("expected `retry` or `fail`"), "{skipped}");
}

#[test]
fn unreadable_files_say_what_to_do() {
    let error = Config::load(Some(Path::new("/no/such/file")), [], &[]).expect_err("missing");
    assert!(error.to_string().contains("--config"), "{error}");
    assert!(from_file("[engine").expect_err("TOML").to_string().contains("TOML"));
    let off = "[engine]\nevery = \"off\"\nlandmarks = []\non_film = false\n";
    assert!(from_file(off).expect_err("no windows").to_string().contains("no window"));
}

#[test]
fn the_digest_changes_with_what_changes_payloads_and_with_nothing_else() {
    let model = Digest::of(b"model");
    let digest = |text: &str| from_file(text).expect("valid").digest(model);
    let same = defaults().digest(model);
    assert_eq!(digest("[engine]\nevery = \"60m\"\nlandmarks = [\"2d\"]\n"), same);
    assert_eq!(digest("[store]\ndir = \"elsewhere\"\n[http]\nlisten = \"off\"\n"), same);
    assert_eq!(
        digest("[predict]\nthreads = 1\nmodel = \"m\"\n[telemetry]\nformat=\"json\"\n"),
        same
    );
    assert_ne!(digest("[engine]\nevery = \"2h\"\n"), same);
    assert_ne!(digest("[engine]\nprofile = \"reference\"\n"), same);
    assert_ne!(digest("[alerts]\nmode = \"passive\"\n"), same);
    assert_ne!(defaults().digest(Digest::of(b"other model")), same);
}

#[test]
fn a_node_is_named_plainly() {
    assert_eq!(defaults().telemetry.node, None);
    let named = from_file("[telemetry]\nnode = \"icu-2\"\n").expect("valid");
    assert_eq!(named.telemetry.node.as_deref(), Some("icu-2"));
    let wrong = from_file("[telemetry]\nnode = \"bed of a patient\"\n").expect_err("spaces");
    assert!(wrong.to_string().contains("letters, digits"), "{wrong}");
}

#[test]
fn warm_copies_are_off_until_asked_for_and_change_no_payload() {
    assert_eq!(defaults().kafka.standby, 0);
    let config = from_file("[kafka]\nstandby = 16\n").expect("valid");
    assert_eq!(config.kafka.standby, 16);
    let model = Digest::of(b"model");
    assert_eq!(config.digest(model), defaults().digest(model));
    let error = from_file("[kafka]\nstandby = -1\n").expect_err("less than none").to_string();
    assert!(error.contains("kafka.standby") && error.contains("from 0"), "{error}");
}

#[test]
fn passwords_are_not_printed() {
    let text = "[kafka]\nproperties = { \"sasl.password\" = \"hunter2\" }\n";
    let config = from_file(text).expect("valid");
    assert_eq!(config.kafka.properties.0.get("sasl.password").map(String::as_str), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn alerts_are_passed_on_where_it_is_said_and_secrets_are_not_printed() {
    let secret = file("from a file\n");
    let text = r#"
        [notify]
        group = "ward"
        beds = 12
        budget = 0.25
        past = "90m"
        webhook = "http://127.0.0.1:8099/alerts"
        syslog = "tcp://127.0.0.1:601"
        retry_max = "5s"
    "#;
    let config = from_file(text).expect("valid").notify;
    assert_eq!((config.group.as_str(), config.beds, config.budget), ("ward", 12, 0.25));
    assert_eq!(config.webhook.as_deref(), Some("http://127.0.0.1:8099/alerts"));
    assert_eq!(config.syslog.as_deref(), Some("tcp://127.0.0.1:601"));
    assert_eq!(config.retry_max, Duration::from_secs(5));
    assert_eq!(config.past, Some(Span::minutes(90)));
    assert_eq!(from_file("[notify]\npast = \"off\"\n").expect("valid").notify.past, None);
    assert_eq!((defaults().notify.webhook, defaults().notify.past), (None, Some(Span::hours(8))));
    for value in ["s3cret".to_owned(), format!("@{}", secret.path().display())] {
        let variables = env(&[("NOWCXR_NOTIFY__WEBHOOK_SECRET", &value)]);
        let config = Config::load(None, variables, &[]).expect("valid");
        let revealed = config.notify.webhook_secret.reveal().expect("readable");
        assert!(["s3cret", "from a file"].contains(&revealed.as_str()), "{revealed}");
        assert!(!format!("{config:?}").contains(&value), "a secret is printed");
    }
    let wrong = "[notify]\ngroup = \"a/b\"\nwebhook = \"https://x\"\nsyslog = \"x:1\"\n";
    let problems = from_file(wrong).expect_err("three errors").0;
    assert_eq!(problems.len(), 3, "{problems:?}");
    let digest = |config: &Config| config.digest(Digest([0; 32]));
    assert_eq!(digest(&from_file(text).expect("valid")), digest(&defaults()), "no payload changes");
}

#[test]
fn mail_goes_from_an_address_to_addresses_by_a_server() {
    let text = r#"
        [notify]
        mail_server = "smtp://[::1]:2525"
        mail_from = "alerts@icu.example.org"
        mail_to = ["one@example.org", "two@example.org"]
        mail_user = "nowcxr"
        mail_password = "s3cret"
    "#;
    let config = from_file(text).expect("valid");
    assert!(!format!("{config:?}").contains("s3cret"));
    let mail = config.notify.mail.expect("a server");
    assert_eq!((mail.host.as_str(), mail.port), ("::1", 2525));
    assert_eq!((mail.security, mail.to.len()), (super::MailSecurity::Plain, 2));
    assert_eq!(mail.password.reveal().expect("a secret"), "s3cret");
    assert_eq!(defaults().notify.mail, None);
    let wrong = |from: &str, to: &str| {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        let problems = from_file(&changed).expect_err("wrong").0;
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].to_string()
    };
    for (from, to, key) in [
        ("smtp://[::1]:2525", "mail.example.org", "notify.mail_server"),
        ("smtp://[::1]:2525", "smtp://mail.example.org", "notify.mail_server"),
        ("smtp://[::1]:2525", "smtp://a b:25", "notify.mail_server"),
        ("smtp://[::1]:2525", "", "notify.mail_server"),
        ("alerts@icu", "alerts.icu", "notify.mail_from"),
        ("two@example.org", "two", "notify.mail_to"),
        ("two@example.org", r"two@ex\r\nX: y", "notify.mail_to"),
        ("two@example.org", r"zw\u00f6lf@example.org", "notify.mail_to"),
        ("\"one@example.org\", \"two@example.org\"", "", "notify.mail_to"),
        ("s3cret", "", "notify.mail_user"),
    ] {
        let told = wrong(from, to);
        assert!(told.starts_with(key), "{told}");
    }
    for scheme in ["smtp+starttls", "smtps"] {
        let loaded = from_file(&text.replace("smtp:", &format!("{scheme}:")));
        if cfg!(feature = "https") {
            let mail = loaded.expect("valid").notify.mail.expect("a server");
            assert_ne!(mail.security, super::MailSecurity::Plain);
        } else {
            let error = loaded.expect_err("no TLS").to_string();
            assert!(error.contains("--features https"), "{error}");
        }
    }
}

#[test]
fn tls_of_the_edge_needs_its_files_and_a_build_that_speaks_it() {
    let both = "[edge]\ntls_certificate = \"a.pem\"\ntls_key = \"a.key\"\n";
    let loaded = from_file(both);
    if cfg!(feature = "https") {
        let tls = loaded.expect("valid").edge.tls.expect("TLS");
        assert_eq!((tls.key.to_str(), tls.clients), (Some("a.key"), None));
    } else {
        let error = loaded.expect_err("no TLS").to_string();
        assert!(error.contains("--features https"), "{error}");
    }
    assert_eq!(defaults().edge.tls, None);
    for (text, key) in
        [("tls_key = \"a.key\"", "edge.tls_key"), ("tls_clients = \"ca.pem\"", "edge.tls_clients")]
    {
        let error = from_file(&format!("[edge]\n{text}\n")).expect_err("alone").to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn an_archive_is_one_address_and_a_token_that_is_not_printed() {
    assert_eq!(defaults().edge.wado, None);
    let mut token = tempfile::NamedTempFile::new().expect("file");
    token.write_all(b"from a file\n").expect("write");
    let of_file = format!("@{}", token.path().display());
    for (written, meant) in [("opensesame", "opensesame"), (of_file.as_str(), "from a file")] {
        let text = "[edge]\nwado = \"http://pacs:8080/dicom-web/\"\n";
        let variables = env(&[("NOWCXR_EDGE__WADO_TOKEN", written)]);
        let config = Config::load(Some(file(text).path()), variables, &[]).expect("valid");
        let wado = config.edge.wado.clone().expect("an archive");
        assert_eq!((wado.base.as_str(), wado.ca), ("http://pacs:8080/dicom-web", None));
        assert_eq!(wado.token.reveal().expect("readable"), meant);
        assert!(!format!("{config:?}").contains("opensesame"));
        let model = Digest::of(b"model");
        assert_eq!(config.digest(model), defaults().digest(model), "it changes no payload");
    }
    for (text, key) in [
        ("wado = \"pacs:8080\"", "edge.wado "),
        ("wado = \"http://pacs/rs?x=\"", "edge.wado "),
        ("wado = \"http://me:opensesame@pacs\"", "edge.wado "),
        ("wado_token = \"opensesame\"", "edge.wado_token"),
        ("wado_ca = \"ca.pem\"", "edge.wado_ca"),
        ("wado = \"http://pacs\"\nwado_ca = \"ca.pem\"", "edge.wado_ca"),
    ] {
        let error = from_file(&format!("[edge]\n{text}\n")).expect_err(text).to_string();
        assert!(error.contains(key) && !error.contains("opensesame"), "{error}");
    }
    let loaded = from_file("[edge]\nwado = \"https://pacs\"\nwado_ca = \"ca.pem\"\n");
    if cfg!(feature = "https") {
        let wado = loaded.expect("valid").edge.wado.expect("an archive");
        assert_eq!(wado.ca.as_deref(), Some(Path::new("ca.pem")));
    } else {
        let error = loaded.expect_err("no https").to_string();
        assert!(error.contains("--features https"), "{error}");
    }
}

#[test]
fn the_edge_is_read_and_its_secret_is_not_printed() {
    let text = "[edge]\nsecret = \"correct horse battery\"\ntime_zone = \"Europe/Berlin\"\n\
                units = [\"MICU\"]\ncodes = { GLU = \"glucose\" }\nlateness = \"5m\"\n\
                fhir_listen = \"off\"\n";
    let edge = from_file(text).expect("valid").edge;
    assert_eq!(edge.time_zone, chrono_tz::Tz::Europe__Berlin);
    assert_eq!((edge.fhir_listen, edge.hl7_listen), (None, defaults().edge.hl7_listen));
    assert_eq!((edge.units, edge.lateness), (vec!["MICU".to_owned()], Span::minutes(5)));
    assert_eq!(edge.codes.get("GLU").map(String::as_str), Some("glucose"));
    assert_eq!(edge.secret, HashKey::new("correct horse battery"));
    assert!(!format!("{:?}", from_file(text)).contains("horse"));
    let model = Digest::of(b"model");
    assert_eq!(from_file(text).expect("valid").digest(model), defaults().digest(model));
    let wrong = "[edge]\nsecret = \"short\"\ntime_zone = \"Mars/Base\"\nunits = [1]\ncodes = []\n";
    let error = from_file(wrong).expect_err("four errors");
    assert_eq!(error.0.len(), 4, "{error}");
    assert!(!error.to_string().contains("\"short\""), "{error}");
}

#[test]
fn who_may_look_is_configured_and_changes_no_payload() {
    assert_eq!(defaults().access.tokens, None, "open, for this machine only");
    let text = "[http]\ntokens = \"tokens.txt\"\naudit = \"looks.jsonl\"\nhistory = \"2h\"\n";
    let config = from_file(text).expect("valid");
    assert_eq!(config.access.tokens.as_deref(), Some(Path::new("tokens.txt")));
    assert_eq!(config.access.audit, Path::new("looks.jsonl"));
    assert_eq!(config.access.history, std::time::Duration::from_secs(7_200));
    let model = Digest::of(b"model");
    assert_eq!(config.digest(model), defaults().digest(model));
    let error = from_file("[http]\naudit = \"\"\n").expect_err("no file").to_string();
    assert!(error.contains("http.audit"), "{error}");
}

//! Help, version, completions and the exit codes of a wrong command line.

use super::support::{Ran, run};

fn bare(args: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), args)
}

#[test]
fn help_names_every_command_and_says_that_it_is_for_research() {
    let help = bare(&["--help"]).expect(0).out;
    let commands = [
        "demo",
        "replay",
        "run",
        "serve",
        "token",
        "audit",
        "edge",
        "topics",
        "reset",
        "rescore",
        "dead-letters",
        "synth",
        "evaluate",
        "drift",
        "report",
        "train",
        "model",
        "inspect",
        "policy",
        "bench",
        "check",
        "completions",
        "alerts",
    ];
    for command in commands {
        let listed = help.lines().any(|line| line.trim_start().starts_with(command));
        assert!(listed, "{command} is not in\n{help}");
        let own = bare(&[command, "--help"]).expect(0).out;
        assert!(own.contains(&format!("Usage: nowcxr {command}")), "{own}");
        let first = own.lines().next().unwrap_or_default();
        assert!(first.len() > 20, "{command} does not say what it does: {first}");
    }
    assert!(help.contains("Research use only"), "{help}");
}

#[test]
fn version_and_completions_print_and_end_well() {
    assert!(bare(&["--version"]).expect(0).out.starts_with("nowcxr "));
    for shell in ["bash", "zsh", "fish"] {
        let script = bare(&["completions", shell]).expect(0).out;
        assert!(script.contains("replay") && script.contains("mimic-iv"), "{shell}");
    }
}

#[test]
fn a_wrong_command_line_is_2_and_says_what_was_meant() {
    let typo = bare(&["dmeo"]).expect(2).err;
    assert!(typo.contains("demo"), "{typo}");
    let flag = bare(&["demo", "--pateints", "2"]).expect(2).err;
    assert!(flag.contains("--patients"), "{flag}");
    let number = bare(&["demo", "--patients", "many"]).expect(2).err;
    assert!(number.contains("many"), "{number}");
    let speed = bare(&["demo", "--speed", "-1"]).expect(2).err;
    assert!(speed.contains("--speed") || speed.contains("-1"), "{speed}");
    let missing = bare(&["replay"]).expect(2).err;
    assert!(missing.contains("--mimic-iv"), "{missing}");
    bare(&[]).expect(2);
}

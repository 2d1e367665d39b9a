//! `nowcxr model` as a person uses it.

use std::path::Path;
use std::process::{Command, Output};

use super::{ALL, fixture};

fn nowcxr(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nowcxr"))
        .args(args)
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn import_into(out: &Path, more: &[&str]) -> Output {
    let files: Vec<String> = ALL.iter().map(|file| fixture(file).display().to_string()).collect();
    let config = fixture("tiny_config.json").display().to_string();
    let out = out.display().to_string();
    let mut args = vec!["model", "import"];
    args.extend(files.iter().map(String::as_str));
    args.extend(["--config", &config, "--out", &out]);
    args.extend(more);
    nowcxr(&args)
}

#[test]
fn a_model_is_imported_and_shown() {
    let dir = tempfile::tempdir().expect("dir");
    let out = dir.path().join("model");
    let made = import_into(&out, &["--noise-seed", "11", "--name", "tiny"]);
    let said = text(&made.stdout);
    assert!(made.status.success(), "{}", text(&made.stderr));
    for word in ["tiny_ldm.ckpt: diffusion model", "moving averages", "missing: nothing", "seed 11"]
    {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }
    let home = env!("CARGO_MANIFEST_DIR");
    for file in ["import.json", "model_card.md", "manifest.json"] {
        let written = std::fs::read_to_string(out.join(file)).expect("written");
        assert!(!written.contains(home), "{file} holds a path of this machine");
    }
    let shown = nowcxr(&["model", "show", &out.display().to_string()]);
    let said = text(&shown.stdout);
    for word in ["tiny 0.1.0", "digest ", "parameters", "unet", "weights.safetensors", "# An imp"] {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }
    let shown = nowcxr(&["model", "show", "--json", &out.display().to_string()]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("json");
    assert_eq!(shown["about"]["name"], "tiny");
    assert_eq!(shown["config"]["diffusion"]["scale_factor"], 0.75);
    assert_eq!(shown["import"]["digest"], shown["digest"]);
    assert!(shown["parameters"]["all"].as_u64() > Some(1_000));
    // The same again would overwrite a model.
    let again = import_into(&out, &[]);
    assert!(!again.status.success());
    assert!(text(&again.stderr).contains("holds a model already"), "{}", text(&again.stderr));
}

#[test]
fn a_directory_that_is_no_model_is_told_so() {
    let dir = tempfile::tempdir().expect("dir");
    let shown = nowcxr(&["model", "show", &dir.path().display().to_string()]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(text(&shown.stderr).contains("no model that can be used"));
    let help = text(&nowcxr(&["model", "import", "--help"]).stdout);
    assert!(help.contains("no code in a checkpoint is run"), "{help}");
}

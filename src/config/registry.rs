//! `[registry]`, and secrets that lie in files or in the environment.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Value;

use super::checked::Properties;
use super::value::Reader;
use super::web::service;

/// No password is longer.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where a token is that may be another one the next time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenPlace {
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
}

impl TokenPlace {
    /// `None` for nothing; `env:NAME` is the variable `NAME`, everything else a file.
    pub(super) fn of(text: &str) -> Option<Self> {
        match text.strip_prefix("env:") {
            Some(name) => Some(TokenPlace::Variable(name.to_owned())),
            None if text.is_empty() => None,
            None => Some(TokenPlace::File(PathBuf::from(text))),
        }
    }

    /// The token as it is now.
    ///
    /// # Errors
    /// What is wrong with its place; never the token.
    pub fn read(&self) -> Result<String, String> {
        match self {
            TokenPlace::File(path) => secret(path),
            TokenPlace::Variable(name) => match std::env::var(name) {
                Ok(token) if !token.is_empty() => Ok(token),
                _ => Err(format!("names the variable {name}, which is not set or empty")),
            },
        }
    }
}

/// `[registry]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryConfig {
    /// Without a slash at its end; `None` for fixed ids.
    pub url: Option<String>,
    pub register: bool,
    pub subjects: SubjectNames,
    /// A file with `user:password`.
    pub credentials: Option<PathBuf>,
    /// A PEM file of who signs the registry's certificate; `None` for the authorities of the web.
    pub ca: Option<PathBuf>,
}

/// How subjects are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectNames {
    /// Confluent's RecordNameStrategy.
    Record,
    /// Its TopicRecordNameStrategy.
    TopicRecord,
}

pub fn registry(reader: &mut Reader) -> RegistryConfig {
    let (url, ca) = service(reader, "registry.url", "registry.ca");
    let credentials = reader.text("registry.credentials");
    RegistryConfig {
        url,
        register: reader.flag("registry.register"),
        subjects: reader.choice("registry.subjects", SubjectNames::Record),
        credentials: (!credentials.is_empty()).then(|| PathBuf::from(credentials)),
        ca,
    }
}

/// `properties` with those whose values lie in files.
pub fn with_secrets(reader: &mut Reader, properties: Properties) -> Properties {
    let secrets = reader.read("kafka.secrets", Properties::default(), |value| {
        let table = value.as_table().ok_or("is not a table { \"name\" = \"file\" }")?;
        let secret = |(name, file): (&String, &Value)| {
            let file = file.as_str().ok_or_else(|| format!("has no file's name for {name:?}"))?;
            Ok((name.clone(), secret(Path::new(file))?))
        };
        table.iter().map(secret).collect::<Result<_, String>>().map(Properties)
    });
    let Properties(mut all) = properties;
    if let Some(twice) = secrets.0.keys().find(|name| all.contains_key(*name)) {
        let what = format!("has {twice:?}, which stands under properties, too; take one away");
        reader.complain("kafka.secrets", what);
    }
    all.extend(secrets.0);
    Properties(all)
}

/// What a file holds, without its last line end.
pub fn secret(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let name = path.display();
    File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| format!("names {name}, which cannot be read ({error})"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let secret = line.strip_suffix('\r').unwrap_or(line);
    match secret.is_empty() {
        true => Err(format!("names {name}, which is empty")),
        false => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::Config;

    fn load(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        file.write_all(text.as_bytes()).expect("write");
        Config::load(Some(file.path()), [], &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_never_printed() {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        file.write_all(b"hunter2\n").expect("write");
        let name = file.path().display();
        let config = load(&format!("[kafka]\nsecrets = {{ \"sasl.password\" = \"{name}\" }}\n"));
        let config = config.expect("valid");
        let password = config.kafka.properties.0.get("sasl.password");
        assert_eq!(password.map(String::as_str), Some("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
        let settings = crate::transport::kafka::KafkaSettings::from(&config.kafka);
        assert!(!format!("{settings:?}").contains("hunter2"));
        let absent = load("[kafka]\nsecrets = { a = \"/no/such/file\" }\n").expect_err("absent");
        assert!(absent.contains("kafka.secrets") && absent.contains("cannot be read"), "{absent}");
        let twice = format!("[kafka]\nproperties = {{ a = 1 }}\nsecrets = {{ a = \"{name}\" }}\n");
        assert!(load(&twice).expect_err("twice").contains("take one away"));
    }

    #[test]
    fn a_token_lies_in_a_file_or_in_the_environment_and_is_read_anew() {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        let name = file.path().display().to_string();
        let token = |text: &str| load(text).expect("valid").kafka.token;
        assert_eq!(token(""), None);
        let place = token(&format!("[kafka]\ntoken = \"{name}\"\n")).expect("a place");
        assert!(place.read().expect_err("empty").contains("is empty"));
        file.write_all(b"one\n").expect("write");
        assert_eq!(place.read(), Ok("one".to_owned()));
        file.as_file().set_len(0).expect("shortened");
        std::fs::write(file.path(), "another").expect("write");
        assert_eq!(place.read(), Ok("another".to_owned()));
        // Of the variables that are surely set, this one is no secret.
        let place = token("[kafka]\ntoken = \"env:PATH\"\n").expect("a place");
        assert_eq!(place.read().ok(), std::env::var("PATH").ok());
        let absent = token("[kafka]\ntoken = \"env:NOWCXR_NO_SUCH\"\n").expect("a place");
        assert!(absent.read().expect_err("absent").contains("NOWCXR_NO_SUCH"));
    }

    #[test]
    fn a_registry_is_an_address_and_a_way_of_naming() {
        let config = load("[registry]\nurl = \"http://a:1/\"\nsubjects = \"topic_record\"\n");
        let registry = config.expect("valid").registry;
        assert_eq!(registry.url.as_deref(), Some("http://a:1"));
        assert_eq!(registry.subjects, SubjectNames::TopicRecord);
        assert!(registry.register && registry.credentials.is_none());
        assert!(load("[registry]\nurl = \"a:1\"\n").expect_err("no address").contains("http://"));
        assert!(load("").expect("defaults").registry.url.is_none());
    }

    #[test]
    fn a_registry_by_https_needs_a_build_that_speaks_it() {
        let loaded = load("[registry]\nurl = \"https://a:1\"\nca = \"ca.pem\"\n");
        if cfg!(feature = "https") {
            let registry = loaded.expect("valid").registry;
            assert_eq!(registry.url.as_deref(), Some("https://a:1"));
            assert_eq!(registry.ca.as_deref(), Some(Path::new("ca.pem")));
        } else {
            let error = loaded.expect_err("no https");
            assert!(error.contains("--features https"), "{error}");
        }
        let plain = load("[registry]\nurl = \"http://a:1\"\nca = \"ca.pem\"\n");
        assert!(plain.expect_err("no use").contains("registry.ca"));
    }
}

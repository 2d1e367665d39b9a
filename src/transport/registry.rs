//! A client of a Confluent-compatible schema registry: ids for the schemas that we write with,
//! texts for the ids that others have written. Nothing is asked twice for what never changes. It
//! speaks HTTP, and HTTPS in a build with the feature `https`.

use std::collections::BTreeMap;
use std::time::Duration;

use apache_avro::Schema;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::config::{RegistryConfig, SubjectNames, secret};
use crate::ports::PortError;
use crate::transport::DISTRUST;
#[cfg(feature = "https")]
use crate::transport::trust;
use crate::wire::{RecordKind, SchemaSource};

/// How long one question may take in all.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read. The largest of our schemas has 20 KB.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// One registry.
pub struct Registry {
    agent: Agent,
    url: String,
    register: bool,
    subjects: SubjectNames,
    authorization: Option<String>,
}

/// An answer: its status and what it says.
struct Answer {
    status: u16,
    body: Value,
}

impl Registry {
    /// # Errors
    /// `Stop` where the credentials or the certificates cannot be read.
    pub fn open(url: &str, config: &RegistryConfig) -> Result<Self, PortError> {
        let credentials = config.credentials.as_deref().map(secret).transpose();
        let credentials =
            credentials.map_err(|what| PortError::Stop(format!("registry.credentials {what}")))?;
        let agent = Agent::config_builder()
            .timeout_global(Some(ASK_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0);
        #[cfg(feature = "https")]
        let agent = {
            let tls = trust::believing(config.ca.as_deref(), "registry.ca");
            agent.tls_config(tls.map_err(PortError::Stop)?)
        };
        Ok(Registry {
            agent: agent.build().into(),
            url: url.to_owned(),
            register: config.register,
            subjects: config.subjects,
            authorization: credentials.map(|pair| format!("Basic {}", STANDARD.encode(pair))),
        })
    }

    /// The ids of the schemas of this version. Those that the registry lacks are registered, if the
    /// configuration allows it. `topics_of` names the topics of a kind.
    ///
    /// # Errors
    /// `Retry` while nobody answers; `Stop` for a schema that is missing or refused.
    pub fn ids(
        &self,
        topics_of: &dyn Fn(RecordKind) -> Vec<String>,
    ) -> Result<BTreeMap<RecordKind, u32>, PortError> {
        let mut ids = BTreeMap::new();
        for kind in RecordKind::ALL {
            for subject in self.subjects_of(kind, topics_of)? {
                let id = self.id(kind, &subject)?;
                if *ids.entry(kind).or_insert(id) != id {
                    return Err(PortError::Stop(format!(
                        "the registry at {} gives the schema of {} another id under {subject}; \
                         set registry.subjects = record",
                        self.url,
                        kind.name()
                    )));
                }
            }
        }
        Ok(ids)
    }

    fn subjects_of(
        &self,
        kind: RecordKind,
        topics_of: &dyn Fn(RecordKind) -> Vec<String>,
    ) -> Result<Vec<String>, PortError> {
        let broken = |why: String| PortError::Stop(format!("schema {}: {why}", kind.name()));
        let schema = Schema::parse_str(kind.schema_text()).map_err(|e| broken(e.to_string()))?;
        let name = schema.name().map(|name| name.fullname(None));
        let name = name.ok_or_else(|| broken("has no name; please report this".to_owned()))?;
        Ok(match self.subjects {
            SubjectNames::Record => vec![name],
            SubjectNames::TopicRecord => {
                topics_of(kind).iter().map(|topic| format!("{topic}-{name}")).collect()
            }
        })
    }

    /// The id of our schema under a subject.
    fn id(&self, kind: RecordKind, subject: &str) -> Result<u32, PortError> {
        let path = match self.register {
            true => format!("/subjects/{subject}/versions"),
            false => format!("/subjects/{subject}"),
        };
        let answer = self.post(&path, &json!({ "schema": kind.schema_text() }))?;
        let id = answer.body["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        match (answer.status, id) {
            (200, Some(id)) => Ok(id),
            (404, _) => Err(PortError::Stop(format!(
                "the registry at {} has no such schema under {subject}; register it, or set \
                 registry.register",
                self.url
            ))),
            (409, _) => Err(PortError::Stop(format!(
                "the registry at {} refuses this version's schema under {subject} as incompatible \
                 ({}); check the subject's compatibility level",
                self.url,
                answer.message()
            ))),
            _ => Err(self.unexpected(subject, &answer)),
        }
    }

    fn post(&self, path: &str, body: &Value) -> Result<Answer, PortError> {
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = request.header("Content-Type", MEDIA_TYPE).header("Accept", MEDIA_TYPE);
        let request = match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        };
        self.answer(request.send(body.to_string()))
    }

    fn get(&self, path: &str) -> Result<Answer, PortError> {
        let request = self.agent.get(format!("{}{path}", self.url)).header("Accept", MEDIA_TYPE);
        let request = match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        };
        self.answer(request.call())
    }

    fn answer(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Answer, PortError> {
        let silent = |why: &dyn std::fmt::Display| {
            let url = &self.url;
            PortError::Retry(format!("the registry at {url} does not answer ({why})"))
        };
        let mut answer = answer.map_err(|error| match error.to_string() {
            why if why.contains(DISTRUST) => PortError::Stop(format!(
                "the registry at {} shows a certificate that is not believed ({why}); set \
                 registry.ca to the certificate of who signed it, and write registry.url with the \
                 name that it is for",
                self.url
            )),
            why => silent(&why),
        })?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let body = body.map_err(|error| silent(&error))?;
        let answer = Answer { status, body: serde_json::from_str(&body).unwrap_or(Value::Null) };
        match status {
            401 | 403 => Err(PortError::Stop(format!(
                "the registry at {} refuses us ({status}); check registry.credentials",
                self.url
            ))),
            429 | 500.. => Err(silent(&format!("{status}: {}", answer.message()))),
            _ => Ok(answer),
        }
    }

    fn unexpected(&self, what: &str, answer: &Answer) -> PortError {
        let Answer { status, .. } = answer;
        PortError::Stop(format!(
            "the registry at {} answers {status} about {what} ({}); check that registry.url is \
             that of a Confluent-compatible registry",
            self.url,
            answer.message()
        ))
    }
}

impl SchemaSource for Registry {
    fn schema(&self, id: u32) -> Result<Option<String>, PortError> {
        let answer = self.get(&format!("/schemas/ids/{id}"))?;
        match (answer.status, answer.body["schema"].as_str()) {
            (200, Some(text)) => Ok(Some(text.to_owned())),
            (404, _) => Ok(None),
            _ => Err(self.unexpected(&format!("schema {id}"), &answer)),
        }
    }
}

impl Answer {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or("without a message")
    }
}

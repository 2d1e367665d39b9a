//! OperationOutcome: what became of something that was sent, or why it was not done.

use serde_json::{Value, json};

use crate::event::{Reason, Rejection};

/// Characters of an issue's text.
const MAX_TEXT: usize = 400;

/// How bad it is: whether the thing was done at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Information,
    /// It was done, and something of it will not be used.
    Warning,
    /// It was not done.
    Error,
}

/// One thing to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub severity: Severity,
    /// Of the value set `issue-type`.
    pub code: &'static str,
    pub text: String,
    /// FHIRPath of the element that is meant.
    pub expression: Option<String>,
}

impl Severity {
    const fn code(self) -> &'static str {
        match self {
            Severity::Information => "information",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

impl Issue {
    pub fn new(severity: Severity, code: &'static str, text: impl Into<String>) -> Self {
        Issue { severity, code, text: text.into(), expression: None }
    }

    /// Why something is not used.
    pub fn of(severity: Severity, rejection: &Rejection) -> Self {
        Issue::new(severity, code_of(rejection.reason), rejection.to_string())
    }
}

/// The resource. One without an issue would be invalid, so nothing to say is said as such.
pub fn operation_outcome(issues: &[Issue]) -> Value {
    let issue = |issue: &Issue| {
        let text: String = issue.text.chars().take(MAX_TEXT).collect();
        let mut said = json!({
            "severity": issue.severity.code(),
            "code": issue.code,
            "details": { "text": text },
        });
        if let (Some(expression), Some(said)) = (&issue.expression, said.as_object_mut()) {
            said.insert("expression".to_owned(), json!([expression]));
        }
        said
    };
    let mut said: Vec<Value> = issues.iter().map(issue).collect();
    if said.is_empty() {
        said.push(issue(&Issue::new(Severity::Information, "informational", "done")));
    }
    json!({ "resourceType": "OperationOutcome", "issue": said })
}

const fn code_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Undecodable | Reason::MalformedRow => "structure",
        Reason::MissingKey => "required",
        Reason::UnmappedCode | Reason::UnknownCategory | Reason::UnknownUnit => "code-invalid",
        Reason::Unsupported => "not-supported",
        Reason::TooManyWaiting => "throttled",
        Reason::IdentityDispute | Reason::Outdated => "conflict",
        Reason::UnknownFact | Reason::NoAdmission => "not-found",
        Reason::TooMany => "too-costly",
        Reason::FilmUnavailable | Reason::FilmUndecodable => "processing",
        _ => "value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_always_has_an_issue_with_severity_code_and_text() {
        let rejection = Rejection::new(Reason::UnmappedCode, "x".repeat(2 * MAX_TEXT));
        let mut issue = Issue::of(Severity::Warning, &rejection);
        issue.expression = Some("Observation.component[0]".to_owned());
        let said = operation_outcome(&[issue]);
        assert_eq!(said["issue"][0]["severity"], "warning");
        assert_eq!(said["issue"][0]["code"], "code-invalid");
        assert_eq!(said["issue"][0]["expression"][0], "Observation.component[0]");
        let text = said["issue"][0]["details"]["text"].as_str().expect("a text");
        assert!(text.starts_with("unmapped_code") && text.chars().count() == MAX_TEXT, "{text}");
        assert_eq!(operation_outcome(&[])["issue"][0]["severity"], "information");
    }
}

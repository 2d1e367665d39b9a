//! The rights that each kind of client needs in a cluster that checks them, and no more.
//!
//! The service cannot see the topic of labels: what became of a patient never reaches the process
//! that predicts it. Rights on a topic to read or to write include those to see it.

use super::settings::KafkaSettings;
use crate::ids::Topic;
use crate::ports::OutputKind;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `nowcxr run`, with kafka.create_topics = false.
    Service,
    /// A feed or `nowcxr replay --to kafka`.
    Feeder,
    /// Whoever shows risks and alerts.
    Reader,
    /// Dead letters, reset and rescoring.
    Operator,
}

/// What a right is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    Topics(Vec<String>),
    Group(String),
    /// Every transactional id with this beginning.
    TransactionalIds(String),
}

/// One role's rights on some resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub role: Role,
    pub resource: Resource,
    /// In Kafka's words.
    pub operations: &'static [&'static str],
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Service, Role::Feeder, Role::Reader, Role::Operator];

    pub const fn name(self) -> &'static str {
        match self {
            Role::Service => "service",
            Role::Feeder => "feeder",
            Role::Reader => "reader",
            Role::Operator => "operator",
        }
    }
}

/// Every right that anybody needs.
pub fn grants(settings: &KafkaSettings) -> Vec<Grant> {
    let output = |kind| settings.output(kind);
    let inputs = || Topic::ALL.map(|topic| settings.input(topic)).to_vec();
    let outputs = || {
        let kinds = [OutputKind::Risk, OutputKind::Alert, OutputKind::DeadLetter, OutputKind::View];
        kinds.map(output).to_vec()
    };
    let app = settings.app.clone();
    let topics =
        |role, names, operations| Grant { role, resource: Resource::Topics(names), operations };
    let group =
        |role, operations| Grant { role, resource: Resource::Group(app.clone()), operations };
    let writes_as_task = |role| {
        let ids = Resource::TransactionalIds(format!("{app}-"));
        Grant { role, resource: ids, operations: &["Write"] }
    };
    let own = || vec![settings.changelog(), settings.journal()];
    let fed = [inputs(), vec![settings.labels(), output(OutputKind::DeadLetter)]].concat();
    let shown = [OutputKind::Risk, OutputKind::Alert, OutputKind::View].map(output).to_vec();
    vec![
        topics(Role::Service, inputs(), &["Read"]),
        topics(Role::Service, outputs(), &["Write"]),
        topics(Role::Service, own(), &["Read", "Write", "DescribeConfigs"]),
        group(Role::Service, &["Read"]),
        writes_as_task(Role::Service),
        topics(Role::Feeder, fed, &["Write"]),
        topics(Role::Reader, shown, &["Read"]),
        topics(Role::Operator, inputs(), &["Read", "Write"]),
        topics(Role::Operator, outputs(), &["Read"]),
        topics(Role::Operator, own(), &["Read", "Write", "Delete", "DescribeConfigs"]),
        group(Role::Operator, &["Read", "Delete"]),
        writes_as_task(Role::Operator),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_feeder_knows_of_labels() {
        let settings = KafkaSettings { prefix: "icu.".to_owned(), ..KafkaSettings::new("a:1") };
        let of_labels: Vec<Grant> = grants(&settings)
            .into_iter()
            .filter(|grant| match &grant.resource {
                Resource::Topics(names) => names.contains(&settings.labels()),
                Resource::Group(_) | Resource::TransactionalIds(_) => false,
            })
            .collect();
        assert!(of_labels.iter().all(|grant| grant.role == Role::Feeder), "{of_labels:?}");
        assert_eq!(of_labels.len(), 1);
        assert!(of_labels[0].operations == ["Write"]);
    }
}

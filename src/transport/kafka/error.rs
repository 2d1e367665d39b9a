//! Kafka's errors, sorted by what the loop does about them, with advice for the person who reads.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::ports::PortError;

/// What `error`, met while `doing` something at `bootstrap`, means for the task.
///
/// Unknown codes ask for a new start of the task: that is right for whatever is not for ever, and
/// shows itself soon where it is.
pub(super) fn port_error(doing: &str, bootstrap: &str, error: &KafkaError) -> PortError {
    match error {
        // Its value may be a password.
        KafkaError::ClientConfig(_, why, key, value) => {
            let said = !value.is_empty() && why.contains(value.as_str());
            let why = if said { "its value" } else { why.as_str() };
            return PortError::Stop(format!(
                "kafka property {key} is refused ({why}); correct it under \
                 kafka.properties (a build without the feature for TLS knows no ssl and sasl)"
            ));
        }
        KafkaError::ClientCreation(why) => {
            return PortError::Stop(format!("no kafka client could be made: {why}"));
        }
        KafkaError::Nul(_) => {
            return PortError::Stop("a kafka topic name holds a zero byte; rename it".to_owned());
        }
        _ => {}
    }
    let Some(code) = error_code(error) else {
        return PortError::Reopen(format!("{doing} failed: {error}"));
    };
    if let Some(advice) = advice(code) {
        return PortError::Stop(format!("{doing} failed: {code}; {advice}"));
    }
    if is_passing(code) {
        return PortError::Retry(format!(
            "{doing} failed: {code}; check that a broker runs at {bootstrap} (kafka.brokers) and \
             that security.protocol under kafka.properties is that of its listener"
        ));
    }
    PortError::Reopen(format!("{doing} failed: {code}"))
}

/// The crate's own accessor leaves out some variants that do carry a code.
fn error_code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) | KafkaError::Rebalance(code) => Some(*code),
        KafkaError::Transaction(inner) => Some(inner.code()),
        other => other.rdkafka_error_code(),
    }
}

/// Whether the user lacks a right: only a person can give it to him.
pub(super) fn lacks_right(error: &KafkaError) -> bool {
    let forbidden = |code| {
        matches!(
            code,
            Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::ClusterAuthorizationFailed
        )
    };
    error_code(error).is_some_and(forbidden)
}

/// What to do about an error that does not pass by itself.
pub(super) fn advice(code: Code) -> Option<&'static str> {
    let advice = match code {
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            "create the topic with as many partitions as the other inputs, set \
             kafka.create_topics, or correct kafka.prefix"
        }
        Code::InvalidTopic => "correct kafka.prefix or kafka.group: letters, digits, '.', '_', '-'",
        Code::TopicAuthorizationFailed => {
            "ask for the rights on topics that `nowcxr topics acls` prints, and set \
             kafka.create_topics = false where others make them"
        }
        Code::GroupAuthorizationFailed => {
            "ask for the rights on the group (kafka.group) that `nowcxr topics acls` prints"
        }
        Code::TransactionalIdAuthorizationFailed => {
            "ask for the rights on transactional ids that `nowcxr topics acls` prints"
        }
        Code::ClusterAuthorizationFailed => {
            "ask for the rights to create topics, or set kafka.create_topics = false"
        }
        Code::SaslAuthenticationFailed | Code::Authentication => {
            "check sasl.mechanism, sasl.username and sasl.password under kafka.properties and \
             kafka.secrets, or the token of kafka.token"
        }
        Code::SSL => {
            "check that kafka.brokers names the broker as its certificate does, and that \
             ssl.ca.location under kafka.properties holds who signed it"
        }
        Code::UnsupportedSASLMechanism | Code::UnsupportedFeature | Code::UnsupportedVersion => {
            "the broker does not offer what was asked for; Kafka 4.0 or newer is needed"
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            "raise the topic's max.message.bytes to 17825792, or send films by reference"
        }
        Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::LogTruncation => {
            "the state's position is not in the topic any more (deleted by retention, or the \
             topic was made anew); start over with a new kafka.group and store.dir"
        }
        Code::InvalidTimestamp => {
            "set the topic's message.timestamp.type to LogAppendTime, or its \
             message.timestamp.before.max.ms and .after.max.ms to their maximum for a replay"
        }
        Code::FencedInstanceId | Code::UnreleasedInstanceId => {
            "another process runs under the same kafka.instance; give each its own"
        }
        Code::InvalidReplicationFactor => "set kafka.replication to no more than the brokers",
        Code::PolicyViolation | Code::InvalidConfig | Code::InvalidPartitions => {
            "the cluster's policy refuses the topic; create it by hand"
        }
        _ => return None,
    };
    Some(advice)
}

/// Whether the same call may succeed in a while, without anything having been lost.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::RequestTimedOut
            | Code::QueueFull
            | Code::WaitingForCoordinator
            | Code::ISRInsufficient
            | Code::Retry
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotController
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::RebalanceInProgress
            | Code::KafkaStorageError
            | Code::ThrottlingQuotaExceeded
            | Code::OffsetNotAvailable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code) -> PortError {
        port_error("reading", "a:1", &KafkaError::MessageConsumption(code))
    }

    #[test]
    fn errors_are_sorted_by_what_the_loop_does() {
        assert!(matches!(of(Code::AllBrokersDown), PortError::Retry(_)));
        assert!(matches!(of(Code::TopicAuthorizationFailed), PortError::Stop(_)));
        assert!(matches!(of(Code::AutoOffsetReset), PortError::Stop(_)));
        assert!(matches!(of(Code::Fatal), PortError::Reopen(_)));
        let created = KafkaError::AdminOp(Code::InvalidReplicationFactor);
        assert!(matches!(port_error("creating", "a:1", &created), PortError::Stop(_)));
    }

    #[test]
    fn the_advice_names_the_setting() {
        assert!(of(Code::AllBrokersDown).to_string().contains("a:1 (kafka.brokers)"));
        for code in [
            Code::TopicAuthorizationFailed,
            Code::GroupAuthorizationFailed,
            Code::TransactionalIdAuthorizationFailed,
        ] {
            assert!(of(code).to_string().contains("nowcxr topics acls"), "{code}");
        }
        assert!(of(Code::UnknownTopicOrPartition).to_string().contains("kafka.create_topics"));
    }
}

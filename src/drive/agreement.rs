//! Whether two answers to one question agree. The first is the record; a second one is not used,
//! but it comes from the same input and the same model, so where it says something else two copies
//! of the arithmetic have come apart (`reference/clinical.md` 5, failure 20).
//!
//! Nothing here changes an output: what is heard is counted, and forgotten with the process.

use std::collections::{BTreeMap, VecDeque};

use crate::engine::Outcome;
use crate::ids::{Digest, Ticket};

/// Answers whose scores are remembered; the oldest are forgotten first. An answer comes twice
/// within seconds of the first, or never.
const REMEMBERED: usize = 1_024;
/// So far two answers may lie apart in any risk: what a GPU's order of additions does to a score.
/// Two answers of one type of CPU are equal to the last bit.
pub(super) const TOLERANCE: f32 = 0.005;

/// What was asked: a sealed window, and the digest of what it was cut from.
type Question = (Ticket, Digest);

/// The first answers to the newest questions of a task, of one model.
#[derive(Default)]
pub(super) struct Agreement {
    first: BTreeMap<Question, Outcome>,
    order: VecDeque<Question>,
}

impl Agreement {
    /// Remembers an answer, or holds it against the one that came before it: the largest
    /// difference of any risk, if the two are apart by more than [`TOLERANCE`]. An answer without
    /// scores, or by another part of the method than the first, says nothing of the arithmetic.
    pub(super) fn hear(&mut self, question: Question, outcome: &Outcome) -> Option<f32> {
        if matches!(outcome, Outcome::Unscored(_)) {
            return None;
        }
        if let Some(first) = self.first.get(&question) {
            return difference(first, outcome).filter(|apart| *apart > TOLERANCE);
        }
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.first.remove(&oldest);
        }
        self.order.push_back(question);
        self.first.insert(question, outcome.clone());
        None
    }
}

/// The largest difference of any risk that both answers hold.
fn difference(one: &Outcome, other: &Outcome) -> Option<f32> {
    let (one, other) = match (one, other) {
        (Outcome::Scored(one), Outcome::Scored(other)) => (one, other),
        (Outcome::Degraded(one, why), Outcome::Degraded(other, same)) if why == same => {
            (one, other)
        }
        _ => return None,
    };
    let twins = [(one.carry_forward, other.carry_forward), (one.ehr_only, other.ehr_only)];
    let twins = twins.into_iter().filter_map(|(one, other)| one.zip(other));
    let pairs = one.phenotypes.into_iter().zip(other.phenotypes);
    let all = pairs.chain([(one.mortality, other.mortality)]).chain(twins);
    all.map(|(one, other)| (one.get() - other.get()).abs()).max_by(f32::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::risk::{N_PHENOTYPES, Probability, Scores};
    use crate::ids::StayId;
    use crate::time::{EventTime, Span};

    fn question(hour: i64) -> Question {
        let t = EventTime::from_millis(0) + Span::hours(hour);
        (Ticket { stay: StayId(7), t, revision: 0 }, Digest::of(b"facts"))
    }

    fn scores(mortality: f32, phenotype: f32) -> Scores {
        let p = |value| Probability::new(value).expect("a probability");
        let mut phenotypes = [p(0.5); N_PHENOTYPES];
        phenotypes[3] = p(phenotype);
        Scores {
            mortality: p(mortality),
            mortality_raw: p(mortality),
            mortality_interval: None,
            phenotypes,
            carry_forward: None,
            ehr_only: None,
            generation: None,
            attribution: Vec::new(),
        }
    }

    #[test]
    fn answers_that_are_apart_are_told_by_the_largest_difference() {
        let hear = |first: Outcome, second: Outcome| {
            let mut agreement = Agreement::default();
            assert_eq!(agreement.hear(question(1), &first), None);
            agreement.hear(question(1), &second)
        };
        let scored = |a, b| Outcome::Scored(scores(a, b));
        assert_eq!(hear(scored(0.25, 0.5), scored(0.25, 0.5)), None);
        assert_eq!(hear(scored(0.25, 0.5), scored(0.254, 0.5)), None, "within the tolerance");
        assert_eq!(hear(scored(0.25, 0.5), scored(0.375, 0.5)), Some(0.125));
        assert_eq!(hear(scored(0.25, 0.5), scored(0.375, 0.75)), Some(0.25));
        let degraded = |why: &str| Outcome::Degraded(scores(0.75, 0.5), why.to_owned());
        assert_eq!(hear(scored(0.25, 0.5), degraded("no film")), None, "not the same method");
        assert_eq!(hear(degraded("no film"), degraded("no film")), None);
    }

    #[test]
    fn only_answers_to_the_same_question_are_compared_and_the_oldest_are_forgotten() {
        let (low, high) = (Outcome::Scored(scores(0.25, 0.5)), Outcome::Scored(scores(0.5, 0.5)));
        let mut agreement = Agreement::default();
        agreement.hear(question(0), &Outcome::Unscored("no answer in time".to_owned()));
        assert_eq!(agreement.hear(question(0), &low), None, "a late score is the first");
        assert_eq!(agreement.hear(question(1), &high), None);
        let other_facts = (question(0).0, Digest::of(b"other facts"));
        assert_eq!(agreement.hear(other_facts, &high), None);
        assert_eq!(agreement.hear(question(0), &high), Some(0.25));
        for hour in 10..10 + REMEMBERED as i64 {
            agreement.hear(question(hour), &low);
        }
        assert_eq!((agreement.first.len(), agreement.order.len()), (REMEMBERED, REMEMBERED));
        assert_eq!(agreement.hear(question(0), &high), None, "forgotten");
    }
}

//! The loop of the benchmarks is the service's: what holds of it here holds there.

use std::time::Instant;

use super::super::ward::Scorer;
use super::*;
use crate::ports::{Answer, PredictionRequest};

/// A model that takes its time, with room for few questions.
#[derive(Default)]
struct Slow {
    scorer: Scorer,
    next: Option<Instant>,
}

const TAKES: Duration = Duration::from_millis(5);
const ROOM: usize = 4;

impl Predictor for Slow {
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        if self.scorer.pending() >= ROOM {
            return Err(Box::new(request));
        }
        self.next.get_or_insert_with(|| Instant::now() + TAKES);
        self.scorer.submit(request)
    }

    fn poll(&mut self, wait: Duration) -> Option<Answer> {
        let left = self.next?.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(wait));
        if left > wait {
            return None;
        }
        let answer = self.scorer.poll(Duration::ZERO);
        self.next = (self.scorer.pending() > 0).then(|| Instant::now() + TAKES);
        answer
    }

    fn pending(&self) -> usize {
        self.scorer.pending()
    }
}

#[test]
fn while_the_model_is_behind_the_loop_rests() {
    let ward = Ward { stays: 150, hours: 2, per_hour: 1, seed: 1 };
    let (mut drive, _) = in_memory(ward, (0, 1), Slow::default()).unwrap();
    let mut turns = 0;
    while !drive.turn().unwrap().idle() {
        turns += 1;
    }
    let answered = drive.counts().answered;
    assert!(answered >= ward.stays * ward.hours, "{answered} answers");
    // Everything that was told is used: an admission, a film and the signs of each stay, and marks.
    let fates = &drive.counts().fates;
    let used: u64 = fates.iter().filter(|((_, fate), _)| *fate == "used").map(|(_, n)| *n).sum();
    assert_eq!(used, 2 * ward.stays + ward.events(), "{fates:?}");
    assert_eq!(fates.values().sum::<u64>(), used, "{fates:?}");
    // Each answer ends a wait, and so does each commit; what turns without rest turns thousands of
    // times an answer.
    assert!(turns < 20 * answered, "{turns} turns for {answered} answers");
}

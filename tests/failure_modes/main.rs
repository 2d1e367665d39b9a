//! The twenty ways in which a hospital's data fail (`reference/clinical.md` 5), a test for each:
//! through the edge and the one loop, each with what the rule does and the counter that tells of
//! it. The counters are metrics, whose names begin with `nowcxr_`; where more is tested comes last.
//!
//! 1. exact duplicate: known by sender, control id and text, by result and value, or by the
//!    fact's id. `edge_messages_total{verdict="known"}`, `edge_said_total{fate="known"}`,
//!    `facts_duplicate_total`. More: `tests/bad_input`.
//! 2. semantic duplicate: a charted copy of a laboratory's glucose or pH up to 65 min behind it
//!    is a shadow: not used, and no dead letter. `facts_shadow_total`,
//!    `facts_overshadowed_total`. More: `tests/engine`, `tests/simulation`.
//! 3. corrected result: the newest window that used it is sealed again and names what it
//!    supersedes; an older version is refused. `risk_events_total{revision="later"}`,
//!    `edge_rejected_total{reason="outdated"}`. More: `tests/engine`, `tests/alerts`.
//! 4. deleted, of the wrong patient: every event that used it is retracted, and the state is as
//!    if it never came. `risk_events_total{status="retracted"}`. More: `tests/engine`,
//!    `tests/resolve.rs`.
//! 5. late result: serves the windows from when it was known; behind its feed's promise it is
//!    late. `facts_late_total`. More: `tests/engine/invariants.rs`.
//! 6. out of order: waits for its admission; after a day it is a dead letter.
//!    `edge_said_total{fate="kept"}`, `edge_rejected_total{reason="no_admission"}`. More:
//!    `tests/resolve.rs`.
//! 7. unit mix-up: converted from the declared unit; what only a sibling unit makes possible is
//!    a dead letter. `records_rejected_total{reason="unit_suspect"}`. More:
//!    `src/event/dictionary/tests.rs`, `tests/cli/faults.rs`.
//! 8. out of range, garbage: a dead letter with its reason and position.
//!    `records_rejected_total`. More: `tests/bad_input`.
//! 9. artefact: a value that stands still or leaps is used, and said to be suspect.
//!    `values_suspected_total`. More: `src/series/suspicion.rs`, `tests/simulation`.
//! 10. missing stream: passed over; windows say so, and a technical alert takes the place of
//!     those of risk. `feed_passed_total`, `alerts_told_total{subject="data_quality"}`. More:
//!     `tests/engine`, `tests/kafka_service`.
//! 11. patient merge: what waits and what still comes under the old number is the survivor's.
//!     The edge writes an AuditEvent `identity.merged` beside its state.
//!     `edge_acts_total{act="merge"}`. More: `tests/resolve.rs`, `src/http/audit`.
//! 12. wrong stay, transfer, readmission: a stay is a stretch in an ICU's units; a result is of
//!     the stay of its time. `edge_acts_total`. More: `tests/resolve.rs`.
//! 13. bed-only identity: not accepted. `edge_rejected_total{reason="missing_key"}`.
//! 14. unmapped code: a dead letter that quotes the code; once `edge.codes` maps it, it is used.
//!     `edge_rejected_total{reason="unmapped_code"}`. More: `src/cli/dead_letters.rs`.
//! 15. vocabulary drift: either vocabulary or the score; what was never seen is a dead letter.
//!     `records_rejected_total{reason="unknown_category"}`. More: `tests/edge/fhir_hostile.rs`.
//! 16. wrong film: view, likeness, marks and age are looked at; of good films the one taken last
//!     counts. `edge_rejected_total`. More: `tests/film`, `tests/edge/dicom.rs`.
//! 17. clocks: wrong ones are counted; times without an offset are those of the site's zone.
//!     `edge_skewed_total`. More: `src/edge/hl7/time.rs`.
//! 18. backfill: history is read again by a flag, and nobody is told a second time; what floods in
//!     live is late, and tells nothing of windows that had closed. A consumer that comes behind
//!     disturbs nobody with alerts of hours ago (`notify.past`). `alerts_withheld_total`,
//!     `facts_late_total`. More: `tests/kafka_service/changeover.rs`, `src/notify/tests.rs`.
//! 19. feedback loop: what was told and what people did about it is on record.
//!     `alerts_told_total`, `facts_used_total{topic="acknowledgement"}`. More: `tests/alerts`.
//! 20. diverging replicas: digest and payload are functions of the input; the first answer is the
//!     record, and a second one to the same question is held against it within a tolerance.
//!     `prediction_latency_seconds_count{status="dropped"}`, `predictions_disagreed_total`. More:
//!     `src/drive/agreement.rs`, `tests/simulation`; `nowcxr rescore` does it for a stretch.

#![allow(clippy::unwrap_used)]

mod counters;
mod duplicates;
#[path = "../parts/film_files.rs"]
mod film_files;
mod films;
mod hospital;
mod identity;
mod mistakes;
mod operation;
mod order;
mod values;
#[path = "../parts/world.rs"]
mod world;

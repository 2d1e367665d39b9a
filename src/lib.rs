//! nowcxr keeps every ICU stay's picture of the chest up to date.
//!
//! It reads lab, vital, imaging and stay events, keeps one state per stay, and whenever a
//! prediction window closes it assembles the irregular EHR series since the last chest X-ray,
//! generates the latent film *as of now* with DDL-CXR, fuses it with the EHR and the film, and
//! emits a risk event.
//!
//! ```text
//! replay (MIMIC files) ─┐                                                  ┌─► risk, dead letter
//! local log ────────────┼─► wire ─► engine.step(input) ─► effects ─► commit ┤
//! Kafka topics ─────────┘   bytes     pure, one stay        │   state,      └─► store (sled)
//!                           → facts   at a time             │   positions,
//!                                ▲                          ▼   outputs
//!                                └─ journal ◄─ answer ◄─ predict: VAE → LDM → fusion
//! ```
//!
//! # Code map
//!
//! In reading order; a module may use only what stands above it (`tests/tidy.rs` enforces this).
//!
//! - [`time`], [`ids`]: event time and wall time as different types; names of things.
//! - [`event`]: facts in and risk events out, checked on construction; the dictionary.
//! - [`config`]: what was written → what is valid, all errors at once.
//! - [`film`]: bytes → prepared film or a reason; pure.
//! - [`series`]: chunks, history, the 79-column grid, normalisers; pure.
//! - [`engine`]: **the core**. Inputs, effects, stays, windows, watermark, and the invariants.
//! - [`ports`]: the small traits that the loop needs from outside.
//! - [`telemetry`]: one struct per happening: its log line and its metric.
//! - [`wire`]: Avro ↔ event, framing, schema ids.
//! - [`store`]: state as keyed whole values; memory and sled.
//! - [`transport`]: the local log, Kafka, and the registry of its schemas.
//! - [`notify`]: the reference consumer of alerts: what holds, whom it may disturb, the ways out.
//! - [`model`]: networks, schedule, samplers, the model directory.
//! - [`drive`]: the one loop: fetch → step → commit → ask.
//! - [`predict`]: the worker thread: queue → networks → answer.
//! - [`replay`]: MIMIC readers, availability, order, marks, reconciliation.
//! - [`metrics`]: figures of merit with intervals; train, synth and evaluate share them.
//! - [`synth`]: the synthetic ward, written out as MIMIC files.
//! - [`train`]: samples from the ward; the loops of the three stages.
//! - [`evaluate`]: a run's risk events against what became of the stays; the report; drift; what a
//!   silent trial's committee reads.
//! - [`edge`]: what hospitals send: HL7 v2, FHIR R4 and DICOM to events of stays.
//! - [`http`]: metrics and health, the dashboard, FHIR both ways, DICOMweb.
//! - [`cli`]: one file a command.
//!
//! # What holds everywhere
//!
//! - The core reads no clock, file or random source, and no async runs in the data path: threads
//!   joined by bounded channels.
//! - What leaves is part of the commit; questions to the model go out after it and are derived
//!   from state, so a crash at any point loses nothing and doubles nothing.
//! - Time of the patient ([`time::EventTime`]) decides; wall time enters only as an input. The
//!   payloads are the same at any replay speed.
//! - Every queue, window and buffer has a named bound.
//!
//! # Where this differs from the starting design
//!
//! - The input topics of a task are read by `LocalSource` in the order of append time, not merged
//!   by event time: the watermark orders the facts (decision 9).
//! - A stay's end leaves as a closing event without scores, since a prediction at death or
//!   discharge would say nothing.
//! - Observations older than `keep` (96 h) behind the newest window are rejected: retractions
//!   reach back so far and no further.

pub mod cli;
pub mod config;
pub mod drive;
pub mod edge;
pub mod engine;
pub mod evaluate;
pub mod event;
pub mod film;
pub mod http;
pub mod ids;
pub mod metrics;
pub mod model;
pub mod notify;
pub mod ports;
pub mod predict;
pub mod replay;
pub mod series;
pub mod store;
pub mod synth;
pub mod telemetry;
pub mod time;
pub mod train;
pub mod transport;
pub mod wire;

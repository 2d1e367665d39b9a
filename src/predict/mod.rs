//! From a sealed window to scores: the pipeline of networks, and the worker that runs it off the
//! engine's thread.
//!
//! Windows are run one by one. On a CPU a batch saves nothing worth having (measured: the cost
//! grows in proportion, `reference/burn.md` 5) and it would change the order of summation with its
//! size, while an outcome must be the same bits whoever else asks at the time.

mod cache;
mod device;
mod open;
mod pipeline;
mod stages;
mod worker;

pub use cache::FilmCache;
pub use device::{DeviceError, set_threads};
pub use open::{OpenError, Pictures};
pub use pipeline::{Generated, Glance, Pipeline, Portrait, PredictError, Prepared};
pub use stages::{Stage, Stages, TIMESTEP as STAGE_TIMESTEP};
pub use worker::{Score, Worker, WorkerConfig};

//! The alert policy: golden courses, and what must hold of any course.

#![allow(clippy::unwrap_used)]

mod course;
mod golden;
mod properties;

//! Stays, variables and times as far as the program's files use them here, and the hours of both
//! benchmarks.

pub const HOUR_MS: i64 = 3_600_000;

/// How long the watermark waits for what is late.
pub const DISORDER_MS: i64 = 300_000;

/// Variables that the benchmark's files know; a row with another one is an error here.
pub const VARIABLES: usize = 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StayId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariableId(pub u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime(i64);

impl EventTime {
    pub const fn from_millis(ms: i64) -> Self {
        EventTime(ms)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

/// The hour that a time in milliseconds belongs to.
pub const fn hour_of(ms: i64) -> i64 {
    ms.div_euclid(HOUR_MS)
}

//! Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// One line of progress about one piece of work.
pub struct Progress {
    what: &'static str,
    unit: &'static str,
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Instant,
    done: u64,
}

impl Progress {
    /// Progress over `unit`s; the total may grow.
    pub fn new(what: &'static str, unit: &'static str) -> Self {
        let style = "{msg:24} {bar:30} {human_pos}/{human_len} {prefix} {per_sec:1} eta {eta}";
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_message(what);
            bar.set_prefix(unit);
            bar
        });
        let now = Instant::now();
        Progress { what, unit, bar, started: now, last_line: now, done: 0 }
    }

    /// `done` of `total`; `total` of 0 means that it is not known.
    pub fn set(&mut self, done: u64, total: u64) {
        self.done = done;
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(done));
            bar.set_position(done);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            eprintln!("{}", self.line(total));
        }
    }

    /// Clears the bar; a plain last line stays where there was none.
    pub fn finish(&self) {
        match &self.bar {
            Some(bar) => bar.finish_and_clear(),
            None => eprintln!("{}", self.line(self.done)),
        }
    }

    fn line(&self, total: u64) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = self.done as f64 / seconds.max(1e-3);
        let left = total.saturating_sub(self.done) as f64 / rate.max(1e-9);
        let Progress { what, unit, done, .. } = self;
        let eta = if total > *done && rate > 0.0 {
            format!(", about {left:.0} s left")
        } else {
            String::new()
        };
        format!("{what}: {done} of {} {unit}, {rate:.0}/s{eta}", total.max(*done))
    }
}

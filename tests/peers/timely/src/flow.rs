//! The dataflow of both benchmarks: one input, one operator that holds the stays, one that adds up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::{Capability, Input, Operator};
use timely::worker::Worker;

use crate::input::{CsvFile, Event, Input as _};
use crate::units::{DISORDER_MS, VARIABLES, hour_of};
use crate::usage;

/// Rows of one container.
const BATCH: usize = 1_024;

/// One event on its way to the worker of its stay.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Record {
    pub at: i64,
    pub value: f64,
    pub stay: u32,
    pub variable: u8,
}

/// What one closed hour of a stay emits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Emission {
    pub sum_milli: i64,
    pub reads: u64,
}

/// The answers, and the processor time of emissions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub rows: u64,
    pub late: u64,
    pub outputs: u64,
    pub accepted: u64,
    pub sum_milli: i64,
    pub reads: u64,
    pub emission_cpu_s: f64,
}

/// What a worker keeps of its stays.
pub trait Work: Default + 'static {
    /// Takes an event of an open hour.
    fn take(&mut self, record: &Record, hour: i64);
    /// Closes the oldest open hour.
    fn close(&mut self, hour: i64, emit: impl FnMut(Emission));
}

/// Runs one benchmark over a file.
pub fn run<W: Work>(file: &Path, workers: usize) -> anyhow::Result<Tally> {
    // Opened here so that a file that is not there is told before any worker starts.
    CsvFile::open(file)?;
    let file = file.to_owned();
    let guards =
        timely::execute(timely::Config::process(workers), move |worker| work::<W>(worker, &file));
    let mut total = Tally::default();
    for answer in guards.map_err(anyhow::Error::msg)?.join() {
        total.add(answer.map_err(anyhow::Error::msg)??);
    }
    Ok(total)
}

/// One worker: the first one reads, each has the stays that are exchanged to it.
fn work<W: Work>(worker: &mut Worker, file: &Path) -> anyhow::Result<Tally> {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let mut input = worker.dataflow::<i64, _, _>(|scope| {
        let (input, records) = scope.new_input::<Vec<Record>>();
        let pact = Exchange::new(|record: &Record| u64::from(record.stay));
        let of_hours = Rc::clone(&tally);
        let emissions = records.unary_frontier(pact, "hours", move |_, _| {
            let mut work = W::default();
            let mut open: BTreeMap<i64, Capability<i64>> = BTreeMap::new();
            move |(input, frontier), output| {
                let tally = &mut *of_hours.borrow_mut();
                input.for_each_stamp(|now, containers| {
                    let Some(reached) = now.least().copied() else { return };
                    let mut newest = i64::MIN;
                    for record in containers.flat_map(|records| records.drain(..)) {
                        let hour = hour_of(record.at);
                        if hour < reached {
                            tally.late += 1;
                            continue;
                        }
                        tally.accepted += 1;
                        if hour != newest {
                            open.entry(hour).or_insert_with(|| now.delayed(&hour, 0));
                            newest = hour;
                        }
                        work.take(&record, hour);
                    }
                });
                while let Some(oldest) = open.first_entry() {
                    if frontier.less_equal(oldest.key()) {
                        break;
                    }
                    let before = usage::thread_cpu_seconds();
                    let (hour, now) = oldest.remove_entry();
                    let mut session = output.session(&now);
                    work.close(hour, |emission| session.give(emission));
                    tally.emission_cpu_s += usage::thread_cpu_seconds() - before;
                }
            }
        });
        let of_sink = Rc::clone(&tally);
        emissions.container::<Vec<Emission>>().sink(Pipeline, "sum", move |(input, _)| {
            let tally = &mut *of_sink.borrow_mut();
            input.for_each(|_, emissions| {
                for emission in emissions.drain(..) {
                    tally.outputs += 1;
                    tally.sum_milli += emission.sum_milli;
                    tally.reads += emission.reads;
                }
            });
        });
        input
    });
    if worker.index() == 0 {
        let rows = read(worker, &mut input, file)?;
        tally.borrow_mut().rows = rows;
    }
    input.close();
    while worker.step_or_park(None) {}
    Ok(*tally.borrow())
}

/// Reads the file into the dataflow. The timestamp of an event is the hour that the watermark,
/// that of the event itself included, has reached.
fn read(
    worker: &mut Worker,
    input: &mut InputHandle<i64, timely::container::CapacityContainerBuilder<Vec<Record>>>,
    file: &Path,
) -> anyhow::Result<u64> {
    let mut source = CsvFile::open(file)?;
    let (mut events, mut batch) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    let (mut rows, mut newest, mut reached) = (0, i64::MIN, i64::MIN);
    loop {
        events.clear();
        source.read(&mut events, BATCH)?;
        if events.is_empty() {
            return Ok(rows);
        }
        rows += events.len() as u64;
        for event in &events {
            let at = event.at.as_millis();
            if at > newest {
                newest = at;
                let hour = hour_of(at.saturating_sub(DISORDER_MS));
                if hour > reached {
                    reached = hour;
                    input.send_batch(&mut batch);
                    input.advance_to(hour);
                }
            }
            batch.push(record(event)?);
        }
        input.send_batch(&mut batch);
        worker.step();
    }
}

fn record(event: &Event) -> anyhow::Result<Record> {
    let stay = u32::try_from(event.stay.0).context("a stay above 4,294,967,295")?;
    let variable = event.variable.0;
    anyhow::ensure!(usize::from(variable) < VARIABLES, "variable {variable} is not below 17");
    Ok(Record { at: event.at.as_millis(), value: event.value, stay, variable })
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.rows += other.rows;
        self.late += other.late;
        self.outputs += other.outputs;
        self.accepted += other.accepted;
        self.sum_milli += other.sum_milli;
        self.reads += other.reads;
        self.emission_cpu_s += other.emission_cpu_s;
    }
}

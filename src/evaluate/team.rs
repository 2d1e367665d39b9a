//! The same work on many windows, shared among threads that each have their own copy of the
//! networks. What comes of a window does not depend on who did it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use super::EvaluateError;
use crate::predict::Pipeline;

/// Threads, at most.
const THREADS_MOST: usize = 16;
/// Results on their way to the thread that gathers them.
const WAITING_MOST: usize = 64;

/// How networks are opened, once for each thread.
pub type Open<'a> = dyn Fn() -> Result<Pipeline, String> + Sync + 'a;

/// `work` on 0 to `n`, in order; what gives `None` is left out. `report` hears how many are done.
///
/// # Errors
/// [`EvaluateError::Model`] if the networks cannot be opened.
pub(super) fn shared<T: Send>(
    n: usize,
    open: &Open<'_>,
    work: &(dyn Fn(&mut Pipeline, usize) -> Option<T> + Sync),
    report: &mut dyn FnMut(u64, u64),
) -> Result<Vec<T>, EvaluateError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(THREADS_MOST).min(n.max(1));
    let next = AtomicUsize::new(0);
    let mut found: Vec<(usize, Option<T>)> = Vec::with_capacity(n);
    let mut fault = None;
    std::thread::scope(|scope| {
        let (tell, hear) = sync_channel(WAITING_MOST);
        for _ in 0..threads {
            let (tell, next) = (tell.clone(), &next);
            scope.spawn(move || {
                let mut pipeline = match open() {
                    Ok(pipeline) => pipeline,
                    Err(why) => {
                        tell.send(Err(why)).ok();
                        return;
                    }
                };
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= n || tell.send(Ok((i, work(&mut pipeline, i)))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        for told in hear {
            match told {
                Ok(one) => found.push(one),
                Err(why) => {
                    fault.get_or_insert(why);
                }
            }
            report(found.len() as u64, n as u64);
        }
    });
    if let Some(why) = fault {
        return Err(EvaluateError::Model(why));
    }
    found.sort_by_key(|(i, _)| *i);
    Ok(found.into_iter().filter_map(|(_, one)| one).collect())
}

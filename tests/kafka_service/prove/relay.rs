//! A relay on this machine between clients and a broker that can lose the broker's answers: what
//! was asked is done, and nobody hears of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Between two looks at what has changed.
const LOOK: Duration = Duration::from_millis(20);
const BUFFER: usize = 64 << 10;

#[derive(Default)]
struct State {
    swallows: AtomicBool,
    ends: AtomicBool,
}

/// It ends when it is dropped.
pub struct Relay(Arc<State>);

impl Relay {
    /// Hands on whoever calls at `listener` to `broker`.
    pub fn start(listener: TcpListener, broker: String) -> Self {
        let relay = Relay(Arc::default());
        let state = Arc::clone(&relay.0);
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            while !state.ends.load(Ordering::Acquire) {
                match listener.accept() {
                    Ok((client, _)) => hand_on(&client, &broker, &state),
                    Err(_) => thread::sleep(LOOK),
                }
            }
        });
        relay
    }

    /// Loses every answer from now on, or hands them on again. A connection that has lost one is
    /// ended then, since what follows would be taken for it.
    pub fn swallow(&self, swallows: bool) {
        self.0.swallows.store(swallows, Ordering::Release);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.ends.store(true, Ordering::Release);
    }
}

/// Without a broker the client is hung up on.
fn hand_on(client: &TcpStream, broker: &str, state: &Arc<State>) {
    let Ok(broker) = TcpStream::connect(broker) else { return };
    for stream in [client, &broker] {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LOOK)).unwrap();
    }
    for (from, to, is_answers) in [(client, &broker, false), (&broker, client, true)] {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let state = Arc::clone(state);
        thread::spawn(move || {
            pump(&from, &to, is_answers, &state);
            // The other direction ends by it.
            drop(from.shutdown(Shutdown::Both));
            drop(to.shutdown(Shutdown::Both));
        });
    }
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, is_answers: bool, state: &State) {
    let (mut buffer, mut has_lost) = (vec![0; BUFFER], false);
    while !state.ends.load(Ordering::Acquire) {
        let swallows = is_answers && state.swallows.load(Ordering::Acquire);
        if has_lost && !swallows {
            return;
        }
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) if swallows => has_lost = true,
            Ok(n) if to.write_all(&buffer[..n]).is_ok() => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => return,
        }
    }
}

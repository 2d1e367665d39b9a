//! The end of the controls at which the replay sits: it looks up between two records.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Answer, LINE_MAX, SOCKET, Standing, Wish};
use crate::replay::{Pace, Player, Speed};
use crate::time::EventTime;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Somebody who has connected and says nothing holds up the replay for no longer.
const HEAR: Duration = Duration::from_millis(200);

/// Hears what is wished of the replay in one directory, which is this process's meanwhile.
pub struct Desk {
    /// `None` where no socket can be made: then nobody is heard.
    listener: Option<UnixListener>,
    path: PathBuf,
    looked: Instant,
}

impl Desk {
    /// # Errors
    /// When another replay runs in `out`.
    pub fn open(out: &Path) -> Result<Self> {
        let path = out.join(SOCKET);
        if UnixStream::connect(&path).is_ok() {
            bail!("another replay runs in {}; give this one an --out of its own", out.display());
        }
        // Left behind by one that was killed.
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .inspect_err(|error| {
                tracing::warn!("this replay has no controls at {}: {error}", path.display());
            });
        Ok(Desk { listener: listener.ok(), path, looked: Instant::now() })
    }

    /// Does what is wished of `player`, `elapsed` after its start, when it is time to look.
    pub fn obey(&mut self, player: &mut Player<'_>, elapsed: Duration) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        // One at a look, so that many of them do not stop the replay.
        let came = self.listener.as_ref().and_then(|listener| listener.accept().ok());
        if let Some((stream, _)) = came
            && let Err(error) = attend(&stream, player, elapsed)
        {
            tracing::debug!("somebody at the controls was not understood: {error}");
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if self.listener.is_some() {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn attend(mut stream: &UnixStream, player: &mut Player<'_>, elapsed: Duration) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(HEAR))?;
    let answer = serde_json::from_slice(&line(stream)?)
        .map_err(|error| error.to_string())
        .and_then(|wish| grant(&wish, player, elapsed));
    writeln!(stream, "{}", serde_json::to_string(&answer)?)
}

/// What was said up to the end of the line, all of it within [`HEAR`].
fn line(mut stream: &UnixStream) -> io::Result<Vec<u8>> {
    let until = Instant::now() + HEAR;
    let (mut line, mut piece) = (Vec::new(), [0; LINE_MAX]);
    while line.len() < LINE_MAX && !line.contains(&b'\n') {
        let left = until.saturating_duration_since(Instant::now());
        // A time-out of nothing would be none.
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut piece)? {
            0 => break,
            n => line.extend(piece.iter().take(n)),
        }
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(line)
}

fn grant(wish: &Wish, player: &mut Player<'_>, elapsed: Duration) -> Answer {
    let pace = player.pace();
    let told = player.virtual_time();
    let wanted = match wish {
        Wish::Pause => Pace { is_paused: true, ..pace },
        Wish::Resume => Pace { is_paused: false, ..pace },
        Wish::Speed { speed } => Pace { speed: speed.parse()?, ..pace },
        Wish::Seek { to_ms } => {
            let goal = EventTime::from_millis(*to_ms);
            if goal <= told {
                return Err(format!(
                    "{goal} is told already, up to {told}, and what is told cannot be taken back; \
                     begin anew in another --out, and on Kafka under another kafka.prefix"
                ));
            }
            Pace { is_paused: false, through: Some(goal), ..pace }
        }
        Wish::Show => pace,
    };
    if wanted != pace {
        tracing::info!(?wanted, told = %told, "the pace was changed");
        player.set_pace(wanted, elapsed);
    }
    Ok(Standing {
        told_to: told.to_string(),
        items: player.items(),
        speed: match wanted.speed {
            Speed::Max => "max".to_owned(),
            Speed::Times(factor) => factor.to_string(),
        },
        paused: wanted.is_paused,
        seeks: wanted.through.filter(|goal| *goal > told).map(|goal| goal.to_string()),
    })
}

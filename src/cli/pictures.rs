//! Films before and after: the last film beside the one generated for the window's end. Generated
//! pixels are marked as such inside the picture, and so are those of a synthetic ward.
//!
//! Drawn are the stays that this run asked about: one that goes on after a kill draws no more of
//! those whose last window was answered before it.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::keepsake::Keepsakes;
use super::summary::last_scored;
use crate::event::FILM_SIDE;
use crate::event::risk::RiskEvent;
use crate::film::{mark_drawn, mark_synthetic, png, to_film_side};
use crate::ids::Ticket;
use crate::predict::Pipeline;

/// Stays drawn, highest risk first.
const MOST: usize = 8;

/// Writes `STAY-last-film.png` and `STAY-generated.png` for the stays at the highest risk. `drawn`
/// says that the films are those of a synthetic ward.
pub fn draw(
    keepsakes: &Keepsakes,
    events: &[RiskEvent],
    pipeline: &mut Pipeline,
    dir: &Path,
    drawn: bool,
) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let with_film = last_scored(events).into_iter().filter(|event| event.film.is_some());
    for event in with_film.take(MOST) {
        let ticket = Ticket { stay: event.stay, t: event.t, revision: event.revision };
        let Some(request) = keepsakes.of(ticket) else { continue };
        let Some(film) = &request.film else { continue };
        let side = FILM_SIDE as u32;
        let last = match drawn {
            true => mark_drawn(film.pixels())?,
            false => png::encode(film.pixels(), side, side)?,
        };
        write(dir, event, "last-film", &last)?;
        if let Some(pictures) = pipeline.pictures(&request) {
            let generated = pictures.generated;
            if let Some(pixels) = to_film_side(&generated.pixels, generated.side, generated.side) {
                write(dir, event, "generated", &mark_synthetic(&pixels)?)?;
            }
        }
    }
    Ok(())
}

fn write(dir: &Path, event: &RiskEvent, what: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join(format!("{}-{what}.png", event.stay));
    std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

//! The films that an ImagingStudy announces: fetched before the desk is asked, so that they and
//! the request become one commit.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::edge::dicom::{Instance, Intake};
use crate::edge::fhir::imaging_study::Named;
use crate::edge::fhir::{Form, Item, Kind, Parcel};
use crate::event::{Reason, Rejection};
use crate::http::dicomweb::{Archive, Unfetched};
use crate::telemetry::FilmAsked;

/// Films of one request that are fetched.
pub const MAX_FILMS: usize = 64;
/// How long all films of a request may take.
pub const FETCHING: Duration = Duration::from_secs(60);

/// The way to films.
#[derive(Clone)]
pub struct Films {
    pub archive: Archive,
    /// What decodes and judges them, as those that come by themselves.
    pub intake: Intake,
    /// How long a request may take to get all of its films; [`FETCHING`].
    pub patience: Duration,
}

/// Brings the films of a request's studies. What cannot be had is said of the study.
pub async fn bring(films: Option<&Films>, parcel: &mut Parcel) {
    let is_lost = |item: &Item| item.fault.is_some();
    if parcel.form == Form::Transaction && parcel.items.iter().any(is_lost) {
        return;
    }
    let until = Instant::now() + films.map_or(Duration::ZERO, |films| films.patience);
    let mut room = MAX_FILMS;
    for item in parcel.items.iter_mut().filter(|item| item.kind == Some(Kind::ImagingStudy)) {
        let announced = item.announced();
        if announced.is_empty() {
            continue;
        }
        let Some(films) = films else {
            let detail = "films are not fetched here; set edge.wado to the base of the archive's \
                          WADO-RS";
            item.fault = Some(Rejection::new(Reason::Unsupported, detail));
            continue;
        };
        let Some(left) = room.checked_sub(announced.len()) else {
            let detail = format!("a request may bring {MAX_FILMS} films; send it in parts");
            item.fault = Some(Rejection::new(Reason::TooMany, detail));
            continue;
        };
        room = left;
        let fetched = timeout_at(until, films.all(&parcel.sender, announced)).await;
        let fetched = fetched.unwrap_or_else(|_| Err("it takes too long".to_owned()));
        match fetched {
            Ok(opened) => item.films = opened,
            Err(why) => {
                FilmAsked::Deferred(&why).emit();
                let text = format!("the archive does not give a film now: {why}; send this again");
                item.deferred = Some(text);
            }
        }
    }
}

impl Films {
    /// All films of a study with their places, in its order, or why one cannot be had now.
    async fn all(
        &self,
        sender: &str,
        announced: Vec<Named>,
    ) -> Result<Vec<(String, Instance)>, String> {
        let mut asked = JoinSet::new();
        for (nth, film) in announced.into_iter().enumerate() {
            let (films, sender) = (self.clone(), sender.to_owned());
            asked.spawn(async move { (nth, films.one(sender, film).await) });
        }
        let mut opened = Vec::new();
        // Those that were not asked for when one fails are given up with the set.
        while let Some(one) = asked.join_next().await {
            let (nth, one) = one.map_err(|_| "the edge is stopping".to_owned())?;
            opened.push((nth, one?));
        }
        opened.sort_by_key(|(nth, _)| *nth);
        Ok(opened.into_iter().map(|(_, one)| one).collect())
    }

    /// One film with its place: the one that was asked for, or why it is not there.
    async fn one(&self, sender: String, film: Named) -> Result<(String, Instance), String> {
        let fetched = match self.archive.fetch(&film).await {
            Ok(fetched) => {
                FilmAsked::Given.emit();
                fetched
            }
            Err(Unfetched::Later(why)) => return Err(why),
            Err(Unfetched::Missing(why)) => {
                FilmAsked::Missing.emit();
                return Ok((film.place, Instance::missing(sender, &film.instance, why)));
            }
        };
        let opened = self.intake.open(sender, fetched.file).await;
        let opened = opened.ok_or_else(|| "the edge is stopping".to_owned())?;
        Ok((film.place, opened.only_as(&film.instance)))
    }
}

//! What the engine hears and says: facts in, risk events out. Constructors check, so what exists
//! is valid.

pub mod alert;
pub mod dictionary;
mod fact;
mod film;
mod mark;
mod observation;
mod rejection;
pub mod risk;
mod scores;
mod stay;

pub use fact::{Fact, FactBody};
pub use film::{FILM_SIDE, Film, PreparedFilm, ViewPosition};
pub use mark::Mark;
pub use observation::{Observation, RawValue};
pub use rejection::{Reason, Rejection};
pub use stay::{Admission, Disposition, Sex, StayEvent};

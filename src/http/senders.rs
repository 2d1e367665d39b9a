//! Who may send: what arrives by HTTP is let in by one rule, whatever protocol it is of.

use std::time::Instant;

use axum::extract::Request;
use axum::http::StatusCode;
use thiserror::Error;

use super::access::{Access, Refusal, Role, Visitor};
use super::shown::{is_for_this_machine, peer, shown, status};

/// Why a sender is not let in.
#[derive(Debug, Error)]
pub enum Barred {
    #[error("an open service answers to localhost only; set http.tokens")]
    Elsewhere,
    #[error(transparent)]
    Refused(Refusal),
    #[error("sending needs the role admin; you are {0}")]
    Role(Role),
}

impl Barred {
    pub const fn status(&self) -> StatusCode {
        match self {
            Barred::Elsewhere => StatusCode::MISDIRECTED_REQUEST,
            Barred::Refused(refusal) => status(refusal),
            Barred::Role(_) => StatusCode::FORBIDDEN,
        }
    }
}

/// Lets in admins by their tokens; without tokens everybody on this machine.
///
/// # Errors
/// Why the request is not let in.
pub fn admit(access: &Access, request: &Request) -> Result<Visitor, Barred> {
    if access.is_open() && !is_for_this_machine(request) {
        return Err(Barred::Elsewhere);
    }
    let admitted = access.admit(shown(request.headers()), peer(request), Instant::now());
    let visitor = admitted.map_err(Barred::Refused)?;
    match visitor.role < Role::Admin {
        true => Err(Barred::Role(visitor.role)),
        false => Ok(visitor),
    }
}

//! `firewall`: who reaches the API of a board, changed while it runs. PID 1 does it, and undoes what nobody confirms.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::Api;
use super::caller::Caller;
use super::error::ApiError;
use crate::boot::trial::{CONFIRM_WITHIN, Reach};

/// The way to PID 1, which takes lines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door {
    tell: fn(&str) -> io::Result<()>,
    changed: Arc<Mutex<Option<Instant>>>,
}

impl Door {
    /// `tell` says a line to PID 1.
    pub fn new(tell: fn(&str) -> io::Result<()>) -> Self {
        Self { tell, changed: Arc::default() }
    }

    fn say(&self, wish: &str) -> Result<(), ApiError> {
        (self.tell)(&format!("firewall {wish}")).map_err(|error| ApiError::failed(format!("PID 1: {error}")))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Change {
    rest_public: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tried {
    rest_public: bool,
    confirm_within_seconds: u64,
}

fn door(api: &Api) -> Result<&Door, ApiError> {
    api.door.as_ref().ok_or_else(|| {
        ApiError::not_found(
            "no firewall is changed here: not on a board, or rest.bind is its loopback interface",
        )
    })
}

/// Lets everybody in, or private addresses alone, on trial.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<Tried>), ApiError> {
    let door = door(&api)?;
    let Change { rest_public } = serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request(format!("invalid request: {error}; write {{\"restPublic\": true}} or false"))
    })?;
    door.say(Reach::of(rest_public).word())?;
    *door.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    Ok((StatusCode::ACCEPTED, Json(Tried { rest_public, confirm_within_seconds: CONFIRM_WITHIN.as_secs() })))
}

/// What is tried is kept. Shown by a connection that the new rules let in: an older one would pass in any case.
pub(super) async fn confirm(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode, ApiError> {
    let door = door(&api)?;
    let mut changed = door.changed.lock().unwrap_or_else(PoisonError::into_inner);
    match *changed {
        None => return Err(ApiError::bad_request("nothing waits to be confirmed")),
        Some(at) if at.elapsed() >= CONFIRM_WITHIN => {
            return Err(ApiError::bad_request("too late: the change is undone; make it again"));
        }
        Some(at) if caller.since <= at => {
            return Err(ApiError::bad_request(
                "this connection is older than the change: confirm by a new one",
            ));
        }
        Some(_) => door.say("confirm")?,
    }
    *changed = None;
    Ok(StatusCode::NO_CONTENT)
}

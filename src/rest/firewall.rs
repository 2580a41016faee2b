//! `firewall`: who reaches the API of a board, changed while it runs. PID 1 does it, and undoes what nobody confirms.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use super::Api;
use super::caller::Caller;
use super::error::ApiError;
use super::media;
use crate::boot::trial::{Reach, Said};

/// PID 1 answers within this time, a write to the card included, or something is wrong.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// An answer is sent by then.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The way to PID 1 and back, in lines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door {
    tell: fn(&str) -> io::Result<()>,
    said: watch::Sender<Option<Said>>,
    /// Of the last wish.
    number: Arc<AtomicU64>,
    /// One wish at a time; what is tried, and since when it is in the kernel.
    tried: Arc<Mutex<Option<(Reach, Instant)>>>,
}

impl Door {
    /// `tell` says a line to PID 1.
    pub fn new(tell: fn(&str) -> io::Result<()>) -> Self {
        Self { tell, said: watch::Sender::new(None), number: Arc::default(), tried: Arc::default() }
    }

    /// What PID 1 says: [`Said::line`].
    pub fn hear(&self, line: &str) {
        if let Some(said) = Said::parse(line) {
            self.said.send_replace(Some(said));
        }
    }

    /// Resolves when somebody from `address` is in whom the rules would not let in any more: they judge new connections.
    pub(super) async fn shuts_out(&self, address: IpAddr) {
        let mut said = self.said.subscribe();
        let out = |said: &Option<Said>| said.is_some_and(|said| !said.reach.lets_in(address));
        if said.wait_for(out).await.is_err() {
            std::future::pending().await
        }
        // Who asked for that gets an answer.
        tokio::time::sleep(LAST_WORDS).await;
    }

    async fn wish(&self, wish: &str) -> Result<Said, ApiError> {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let mut said = self.said.subscribe();
        let failed =
            |problem: String| ApiError::failed(format!("the firewall is not changed: PID 1: {problem}"));
        (self.tell)(&format!("firewall {number} {wish}")).map_err(|error| failed(error.to_string()))?;
        let answered = |said: &Option<Said>| said.is_some_and(|said| said.number == number);
        let answer = tokio::time::timeout(ANSWER_WITHIN, said.wait_for(answered)).await;
        let answer = answer.ok().and_then(Result::ok).and_then(|said| *said);
        answer.ok_or_else(|| failed("no answer".to_owned()))
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
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_within_seconds: Option<u64>,
}

fn door(api: &Api) -> Result<&Door, ApiError> {
    api.door.as_ref().ok_or_else(|| {
        ApiError::not_found(
            "no firewall is changed here: not on a board, or rest.bind is its loopback interface",
        )
    })
}

/// Lets everybody in, or private addresses alone, on trial. Answers with what is in force.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<Tried>), ApiError> {
    let door = door(&api)?;
    // No page of somebody else's sends that without asking.
    if !matches!(media::sent(&headers), Ok(media::Form::Json)) {
        return Err(ApiError::media_type(media::JSON));
    }
    let Change { rest_public } = serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request(format!("invalid request: {error}; write {{\"restPublic\": true}} or false"))
    })?;
    let mut tried = door.tried.lock().await;
    let said = door.wish(Reach::of(rest_public).word()).await?;
    if said.reach.is_public() != rest_public {
        return Err(ApiError::unavailable(
            "not changed: too soon after the last time, or the rules were refused",
        ));
    }
    *tried = said.left_s.map(|_| (said.reach, Instant::now()));
    let status = if said.left_s.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(Tried { rest_public, confirm_within_seconds: said.left_s })))
}

/// What is tried is kept. Shown by a connection that the new rules let in: an older one would pass in any case.
pub(super) async fn confirm(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode, ApiError> {
    let door = door(&api)?;
    let mut tried = door.tried.lock().await;
    let Some((wanted, since)) = *tried else {
        return Err(ApiError::bad_request("nothing waits to be confirmed"));
    };
    if caller.since <= since {
        return Err(ApiError::bad_request("this connection is older than the change: confirm by a new one"));
    }
    let said = door.wish("confirm").await?;
    *tried = None;
    match said {
        Said { left_s: None, reach, .. } if reach == wanted => Ok(StatusCode::NO_CONTENT),
        Said { left_s: None, .. } => {
            Err(ApiError::bad_request("too late: the change is undone; make it again"))
        }
        Said { left_s: Some(_), .. } => {
            Err(ApiError::failed("in force, but forgotten at the next start: the disk does not take it"))
        }
    }
}

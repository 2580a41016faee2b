//! `blocks`: submit, read, metadata.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::caller::Caller;
use super::error::ApiError;
use super::media::{self, Form};
use super::{
    Api, BODY_TIMEOUT, MAX_BODY_BYTES, Segment, path_id, read, remote_pow, require_supported, require_synced,
};
use crate::engine::checked::{self, Work};
use crate::engine::{Unfit, Verdict};
use crate::ledger::Inclusion;
use crate::mining::verifier::Overrun;
use crate::protocol::block::{Block, Draft};
use crate::protocol::id::BlockId;
use crate::protocol::json::BlockJson;
use crate::tangle::ParentState;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Submitted {
    block_id: String,
}

/// Takes a block in JSON or binary form; 201 once it is part of the Tangle and durable.
pub(super) async fn submit(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    caller: Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let form = media::sent(&headers)?;
    require_synced(&api.node)?;
    require_supported(&api.node)?;
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(ApiError::too_large(MAX_BODY_BYTES));
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY_BYTES))
        .await
        .map_err(|_| ApiError::timeout("the body did not come in time"))?
        .map_err(|_| ApiError::too_large(MAX_BODY_BYTES))?;
    let draft = parse(form, &body)?;
    let id = attach(&api, &caller, draft).await?.to_string();
    let location = [(header::LOCATION, id.clone())];
    Ok((StatusCode::CREATED, location, Json(Submitted { block_id: id })).into_response())
}

fn parse(form: Form, body: &[u8]) -> Result<Draft, ApiError> {
    let refuse = |error: &dyn std::fmt::Display| ApiError::bad_request(format!("invalid block: {error}"));
    match form {
        Form::Binary => Draft::parse(body).map_err(|error| refuse(&error)),
        Form::Json => {
            if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
                return Err(refuse(&"a JSON object expected"));
            }
            let json: BlockJson = serde_json::from_slice(body).map_err(|error| refuse(&error))?;
            json.to_draft().map_err(|error| refuse(&error))
        }
    }
}

/// Completes a draft (parents, nonce) where the client left that to the node, checks and submits it.
async fn attach(api: &Api, caller: &Caller, draft: Draft) -> Result<BlockId, ApiError> {
    let own_parents = draft.parents.is_empty();
    let block = tokio::select! {
        block = remote_pow::complete(api, caller.client, draft) => block?,
        () = caller.gone() => return Err(ApiError::unavailable("the client went away")),
        () = api.stopped() => return Err(ApiError::unavailable("the node is stopping")),
    };
    let network = api.node.status_now().network.clone();
    // Proof of work and signatures take up to a millisecond: not on the threads that serve connections.
    let judge = api.judge.clone();
    let checked = tokio::task::spawn_blocking(move || {
        let bytes: Arc<[u8]> = Arc::from(block.pack());
        let claim = checked::claim(&network, &bytes, &block);
        let work = match claim {
            Some(claim) => Work::Judged(judge.holds(claim)?),
            None => Work::Unknown,
        };
        Ok::<_, Overrun>(checked::check_parsed(&network, bytes, block, work))
    })
    .await
    .map_err(|_| ApiError::unavailable("the check was interrupted"))?
    .map_err(|overrun| ApiError::unavailable(overrun.to_string()))?
    .map_err(|error| ApiError::bad_request(format!("invalid block: {error}")))?;
    let id = checked.id;
    match api.node.submit(checked).await? {
        Verdict::Accepted { known: _ } => Ok(id),
        Verdict::NoRoom => Err(ApiError::unavailable(
            "no room for new blocks: the disk is full, or too many wait for the next milestone",
        )),
        // The client has no part in that.
        Verdict::Rejected(_) if own_parents => {
            Err(ApiError::unavailable("the tips became too old while a nonce was looked for"))
        }
        Verdict::Rejected(unfit) => Err(unfit.into()),
    }
}

impl From<Unfit> for ApiError {
    fn from(Unfit { parent, state }: Unfit) -> Self {
        let why = match state {
            ParentState::Unknown => "is not known here",
            ParentState::NotSolid => "is not solid",
            ParentState::BelowMaxDepth => "is below max depth",
            ParentState::Good => "is fit",
        };
        Self::bad_request(format!("invalid block: parent {parent} {why}; ask for new tips"))
    }
}

/// A block in the form the client wants.
pub(super) async fn block(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = BlockId(path_id("blockId", &id)?);
    let bytes = bytes_of(&api, &id).await?.ok_or_else(|| not_found(id))?;
    written(id, bytes, &headers)
}

/// From the store, or from the engine while the block waits for its past cone.
async fn bytes_of(api: &Api, id: &BlockId) -> Result<Option<Vec<u8>>, ApiError> {
    if let Some(bytes) = read(&api.node, |reader| reader.block(id))? {
        return Ok(Some(bytes));
    }
    if let Some(bytes) = api.node.held(*id).await? {
        return Ok(Some(bytes.to_vec()));
    }
    // It may have become solid in between.
    read(&api.node, |reader| reader.block(id))
}

pub(super) fn by_id(api: &Api, id: BlockId, headers: &HeaderMap) -> Result<Response, ApiError> {
    let bytes = read(&api.node, |reader| reader.block(&id))?.ok_or_else(|| not_found(id))?;
    written(id, bytes, headers)
}

fn written(id: BlockId, bytes: Vec<u8>, headers: &HeaderMap) -> Result<Response, ApiError> {
    let block = Block::parse(&bytes).map_err(|error| ApiError::not_found(format!("block {id}: {error}")))?;
    Ok(media::answer(media::wanted(headers), bytes, || BlockJson::from_block(&block)))
}

fn not_found(id: BlockId) -> ApiError {
    ApiError::not_found(format!("block {id} not found"))
}

/// TIP-25 block metadata.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    block_id: String,
    parents: Vec<String>,
    is_solid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    referenced_by_milestone_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milestone_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger_inclusion_state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict_reason: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    should_promote: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    should_reattach: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    white_flag_index: Option<u32>,
}

/// What became of a block: from the store once a milestone references it, from the engine before.
pub(super) async fn metadata(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<Metadata>, ApiError> {
    metadata_of(&api, BlockId(path_id("blockId", &id)?)).await
}

pub(super) async fn metadata_of(api: &Api, id: BlockId) -> Result<Json<Metadata>, ApiError> {
    require_synced(&api.node)?;
    let bytes = bytes_of(api, &id).await?.ok_or_else(|| not_found(id))?;
    let mut reference = read(&api.node, |reader| reader.reference(&id))?;
    let mut outlook = None;
    if reference.is_none() {
        outlook = api.node.outlook(id).await?;
        // What the engine does not count as unreferenced any more is in the store by then.
        if outlook.is_none() {
            reference = read(&api.node, |reader| reader.reference(&id))?;
            // Unless it was pruned meanwhile, reference and all.
            if reference.is_none() && read(&api.node, |reader| reader.block(&id))?.is_none() {
                return Err(not_found(id));
            }
        }
    }
    let block = Block::parse(&bytes).map_err(|error| ApiError::not_found(format!("block {id}: {error}")))?;
    let milestone_index = match (&outlook, block.milestone()) {
        (_, None) => None,
        (Some(outlook), Some(_)) => outlook.milestone.map(|index| index.0),
        (None, Some(milestone)) => {
            let index = milestone.essence.index;
            let stored = read(&api.node, |reader| reader.milestone(index))?;
            // Another block with the payload of a milestone is none.
            stored.filter(|stored| stored.block_id == id).map(|_| index.0)
        }
    };
    // Only solid blocks that are too deep leave memory without being referenced.
    let open = reference.is_none();
    let solid = !open || outlook.as_ref().is_none_or(|outlook| outlook.solid);
    Ok(Json(Metadata {
        block_id: id.to_string(),
        parents: block.parents.as_slice().iter().map(BlockId::to_string).collect(),
        is_solid: solid,
        referenced_by_milestone_index: reference.map(|reference| reference.milestone.0),
        milestone_index,
        ledger_inclusion_state: reference.map(|reference| match reference.inclusion {
            Inclusion::NoTransaction => "noTransaction",
            Inclusion::Included => "included",
            Inclusion::Conflicting(_) => "conflicting",
        }),
        conflict_reason: reference.and_then(|reference| match reference.inclusion {
            Inclusion::Conflicting(conflict) => Some(conflict.code()),
            Inclusion::NoTransaction | Inclusion::Included => None,
        }),
        should_promote: (open && solid)
            .then(|| outlook.as_ref().is_some_and(|outlook| outlook.should_promote)),
        should_reattach: (open && solid)
            .then(|| outlook.as_ref().is_none_or(|outlook| outlook.should_reattach)),
        white_flag_index: reference.map(|reference| reference.white_flag_index),
    }))
}

//! `blocks`: submit, read, metadata.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;
use super::media::{self, Form};
use super::{Api, BODY_TIMEOUT, MAX_BODY_BYTES, Segment, info, path_id, read, require_synced};
use crate::engine::Verdict;
use crate::engine::checked::{self, Work};
use crate::mining::verifier::Overrun;
use crate::mining::{Busy, Client, Miner, Turn};
use crate::pow;
use crate::protocol::blake2b_256;
use crate::protocol::block::{Block, Draft, NONCE_BYTES, Parents};
use crate::protocol::id::BlockId;
use crate::protocol::json::BlockJson;
use crate::tangle::ParentState;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Submitted {
    block_id: String,
}

/// iota-sdk waits this long for a block with remote proof of work.
const MINING_TIMEOUT: Duration = Duration::from_secs(100);

/// HORNET: > while mining, parents that the node chose are chosen again every 5 s
const TIPS_REFRESH: Duration = Duration::from_secs(5);

/// Takes a block in JSON or binary form; 201 once it is part of the Tangle and durable.
pub(super) async fn submit(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    client: Extension<Client>,
    body: Body,
) -> Result<Response, ApiError> {
    let form = media::sent(&headers)?;
    require_synced(&api.node)?;
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
    let id = attach(&api, client.0, draft).await?.to_string();
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
async fn attach(api: &Api, client: Client, draft: Draft) -> Result<BlockId, ApiError> {
    let block = complete(api, client, draft).await?;
    let facts = api.node.facts.clone();
    // Proof of work and signatures take up to a millisecond: not on the threads that serve connections.
    let judge = api.judge.clone();
    let checked = tokio::task::spawn_blocking(move || {
        let bytes: Arc<[u8]> = Arc::from(block.pack());
        let claim = checked::claim(&facts.network, &bytes, &block);
        let work = match claim {
            Some(claim) => Work::Judged(judge.holds(claim)?),
            None => Work::Unknown,
        };
        Ok::<_, Overrun>(checked::check_parsed(&facts.network, bytes, block, work))
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
        Verdict::Rejected { parent, state } => {
            let why = match state {
                ParentState::Unknown => "is not known here",
                ParentState::NotSolid => "is not solid",
                ParentState::BelowMaxDepth => "is below max depth",
                ParentState::Good => "is fit",
            };
            Err(ApiError::bad_request(format!("invalid block: parent {parent} {why}; ask for new tips")))
        }
    }
}

async fn complete(api: &Api, client: Client, draft: Draft) -> Result<Block, ApiError> {
    if draft.parents.is_empty() {
        // HORNET: > no parents with a nonce is an error, as is leaving either to a node that does no PoW
        if draft.nonce != 0 {
            return Err(ApiError::bad_request("invalid block: a nonce without parents"));
        }
        let Some(miner) = &api.miner else { return Err(no_remote_pow("parents")) };
        let with_tips = async || {
            let parents = info::select_tips(api).await?;
            Draft { parents, ..draft.clone() }.into_block().map_err(|error| invalid(&error))
        };
        let block = with_tips().await?;
        if !needs_nonce(api, &block)? {
            return Ok(block);
        }
        // Parents are chosen when it is the client's turn: those of now may be too deep by then.
        return within_time(async {
            let turn = turn(api, miner, client, &block).await?;
            mine(api, &turn, with_tips().await?, true).await
        })
        .await;
    }
    let block = draft.into_block().map_err(|error| invalid(&error))?;
    if !needs_nonce(api, &block)? {
        return Ok(block);
    }
    let Some(miner) = &api.miner else { return Err(no_remote_pow("nonce")) };
    within_time(async {
        let turn = turn(api, miner, client, &block).await?;
        mine(api, &turn, block, false).await
    })
    .await
}

fn invalid(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("invalid block: {error}"))
}

/// Whether somebody has to look for the block's nonce.
fn needs_nonce(api: &Api, block: &Block) -> Result<bool, ApiError> {
    let network = &api.node.facts.network;
    let bytes = block.pack();
    if block.nonce != 0
        || block.milestone().is_some()
        || pow::is_sufficient(&bytes, network.params.min_pow_score)
    {
        return Ok(false);
    }
    // What would be refused anyway is not mined first.
    checked::check_form(network, bytes.len(), block).map_err(|error| invalid(&error))?;
    Ok(true)
}

async fn within_time(mined: impl Future<Output = Result<Block, ApiError>>) -> Result<Block, ApiError> {
    let late = |_| Err(ApiError::unavailable("no nonce found in time"));
    tokio::time::timeout(MINING_TIMEOUT, mined).await.unwrap_or_else(late)
}

/// The client's turn to have a nonce looked for.
async fn turn(api: &Api, miner: &Miner, client: Client, block: &Block) -> Result<Turn, ApiError> {
    let zeros = pow::required_zeros(block.pack().len(), api.node.facts.network.params.min_pow_score);
    // By the best of times, as a judgement by the worst would stay: who is refused makes nothing faster.
    if miner.expected(zeros) > 3 * MINING_TIMEOUT {
        // iota-sdk looks for these words, too, and then mines itself.
        return Err(ApiError::unavailable(
            "proof of work is not available on this node: it would take too long here for a network with this minimum; \
             find a nonce yourself (local proof of work)",
        ));
    }
    Ok(miner.turn(client).await?)
}

/// Finds the block's nonce. Parents that the node chose are chosen again while that takes long: what waits for a nonce
/// must not end up on tips that nobody builds on any more.
async fn mine(api: &Api, turn: &Turn, mut block: Block, own_parents: bool) -> Result<Block, ApiError> {
    let minimum = api.node.facts.network.params.min_pow_score;
    loop {
        let bytes = block.pack();
        let digest = blake2b_256(&bytes[..bytes.len() - NONCE_BYTES]);
        let search = turn.search(digest, pow::required_zeros(bytes.len(), minimum));
        let found = match own_parents {
            true => tokio::time::timeout(TIPS_REFRESH, search).await,
            false => Ok(search.await),
        };
        match found {
            Ok(Some(nonce)) => return Ok(Block { nonce, ..block }),
            Ok(None) => return Err(ApiError::unavailable("no thread is free for proof of work")),
            Err(_) => {
                tracing::debug!(progress = ?turn.progress(), "tips chosen again while mining");
                let tips = info::select_tips(api).await?;
                block.parents = Parents::from_unsorted(tips)
                    .map_err(|error| ApiError::unavailable(format!("tips: {error}")))?;
            }
        }
    }
}

impl From<Busy> for ApiError {
    fn from(busy: Busy) -> Self {
        Self::unavailable(busy.to_string()).retry_after(busy.retry_after_s)
    }
}

/// iota-sdk looks for the words "proof of work is not enabled" and then mines itself.
fn no_remote_pow(missing: &str) -> ApiError {
    ApiError::bad_request(format!(
        "invalid block: {missing} missing, and proof of work is not enabled on this node: choose tips and \
         find a nonce yourself (local proof of work), or ask the operator to set pow.enabled"
    ))
}

/// A block in the form the client wants.
pub(super) async fn block(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = BlockId(path_id("blockId", &id)?);
    let bytes = read(&api.node, move |reader| reader.block(&id)).await?.ok_or_else(|| not_found(id))?;
    let block = Block::parse(&bytes).map_err(|error| ApiError::not_found(format!("block {id}: {error}")))?;
    Ok(media::answer(media::wanted(&headers), bytes, || BlockJson::from_block(&block)))
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
    let id = BlockId(path_id("blockId", &id)?);
    require_synced(&api.node)?;
    // The engine first: a block that it no longer counts as unreferenced is in the store by then.
    let outlook = api.node.outlook(id).await?;
    let found = read(&api.node, move |reader| {
        let Some(bytes) = reader.block(&id)? else { return Ok(None) };
        let reference = reader.reference(&id)?;
        Ok(Some((bytes, reference)))
    })
    .await?;
    let (bytes, reference) = found.ok_or_else(|| not_found(id))?;
    let block = Block::parse(&bytes).map_err(|error| ApiError::not_found(format!("block {id}: {error}")))?;
    let milestone_index = match (&outlook, block.milestone()) {
        (_, None) => None,
        (Some(outlook), Some(_)) => outlook.milestone.map(|index| index.0),
        (None, Some(milestone)) => {
            let index = milestone.essence.index;
            let stored = read(&api.node, move |reader| reader.milestone(index)).await?;
            stored.filter(|stored| stored.stamp().id == milestone.essence.id()).map(|_| index.0)
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
        ledger_inclusion_state: reference.map(|_| "noTransaction"),
        should_promote: (open && solid)
            .then(|| outlook.as_ref().is_some_and(|outlook| outlook.should_promote)),
        should_reattach: (open && solid)
            .then(|| outlook.as_ref().is_none_or(|outlook| outlook.should_reattach)),
        white_flag_index: reference.map(|reference| reference.white_flag_index),
    }))
}

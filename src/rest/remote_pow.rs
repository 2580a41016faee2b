//! Parents and nonces for clients that leave these to the node.

use std::time::Duration;

use super::error::ApiError;
use super::{Api, info};
use crate::engine::checked;
use crate::mining::{Busy, Client, Miner, Turn};
use crate::pow;
use crate::protocol::blake2b_256;
use crate::protocol::block::{Block, Draft, NONCE_BYTES, Parents};
use crate::protocol::id::BlockId;
use crate::tangle::tips::Choice;

/// iota-sdk waits this long for a block with remote proof of work.
const MINING_TIMEOUT: Duration = Duration::from_secs(100);

/// HORNET: > while mining, parents that the node chose are chosen again every 5 s
const TIPS_REFRESH: Duration = Duration::from_secs(5);

/// Chooses parents and finds a nonce where the client left that to the node.
pub(super) async fn complete(api: &Api, client: Client, draft: Draft) -> Result<Block, ApiError> {
    let own_parents = draft.parents.is_empty();
    // HORNET: > no parents with a nonce is an error, as is leaving either to a node that does no PoW
    if own_parents && draft.nonce != 0 {
        return Err(ApiError::bad_request("invalid block: a nonce without parents"));
    }
    if own_parents && api.miner.is_none() {
        return Err(ApiError::bad_request(no_remote_pow("parents")));
    }
    // Parents are chosen when it is the client's turn: those of now may be too deep by then.
    let parents = if own_parents { vec![BlockId::ZERO] } else { draft.parents.clone() };
    let block = Draft { parents, ..draft }.into_block().map_err(|error| invalid(&error))?;
    if !needs_nonce(api, &block, own_parents) {
        return if own_parents { with_tips(api, block).await } else { Ok(block) };
    }
    let Some(miner) = &api.miner else { return Err(ApiError::unavailable(no_remote_pow("nonce"))) };
    let mined = async {
        // What would be refused anyway is not mined first.
        check_form(api, &block)?;
        if !own_parents {
            check_parents(api, &block).await?;
        }
        let turn = turn(api, miner, client, &block, own_parents).await?;
        mine(api, &turn, block, own_parents).await
    };
    let late = |_| Err(not_available("no nonce was found in time"));
    tokio::time::timeout(MINING_TIMEOUT, mined).await.unwrap_or_else(late)
}

/// iota-sdk looks for these words, and then mines itself.
fn not_available(why: &str) -> ApiError {
    ApiError::unavailable(format!(
        "proof of work is not available on this node: {why}; find a nonce yourself (local proof of work)"
    ))
}

fn invalid(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("invalid block: {error}"))
}

/// Whether somebody has to look for the block's nonce. Of a block whose parents are still to be chosen, nobody knows
/// whether it has enough zeros by chance.
fn needs_nonce(api: &Api, block: &Block, own_parents: bool) -> bool {
    let minimum = api.node.status_now().network.params.min_pow_score;
    let is_sufficient = || match own_parents {
        true => minimum == 0,
        false => pow::is_sufficient(&block.pack(), minimum),
    };
    block.nonce == 0 && block.milestone().is_none() && !is_sufficient()
}

fn check_form(api: &Api, block: &Block) -> Result<(), ApiError> {
    checked::check_form(&api.node.status_now().network, block.pack().len(), block)
        .map_err(|error| invalid(&error))
}

async fn check_parents(api: &Api, block: &Block) -> Result<(), ApiError> {
    api.node.unfit_parent(block.parents.clone()).await?.map_or(Ok(()), |unfit| Err(unfit.into()))
}

/// The block on tips of this moment.
async fn with_tips(api: &Api, block: Block) -> Result<Block, ApiError> {
    let tips = info::select_tips(api, Choice::NonLazy).await?;
    let parents =
        Parents::from_unsorted(tips).map_err(|error| ApiError::unavailable(format!("tips: {error}")))?;
    Ok(Block { parents, ..block })
}

/// The client's turn to have a nonce looked for.
async fn turn(
    api: &Api,
    miner: &Miner,
    client: Client,
    block: &Block,
    own_parents: bool,
) -> Result<Turn, ApiError> {
    if miner.threads() == 0 {
        return Err(not_available("it is too hot"));
    }
    let to_come = if own_parents { 32 * (info::TIPS_PER_SELECTION - 1) } else { 0 };
    let minimum = api.node.status_now().network.params.min_pow_score;
    let zeros = pow::required_zeros(block.pack().len() + to_come, minimum);
    // By the best of times, as a judgement by the worst would stay: who is refused makes nothing faster.
    if miner.expected(zeros) > MINING_TIMEOUT {
        return Err(not_available("it would take too long here for a network with this minimum"));
    }
    Ok(miner.turn(client).await?)
}

/// Finds the block's nonce. Parents that the node chooses are chosen again while that takes long: what waits for a nonce
/// must not end up on tips that nobody builds on any more.
async fn mine(api: &Api, turn: &Turn, mut block: Block, own_parents: bool) -> Result<Block, ApiError> {
    let minimum = api.node.status_now().network.params.min_pow_score;
    loop {
        if own_parents {
            block = with_tips(api, block).await?;
            check_form(api, &block)?;
        }
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
            Err(_) => tracing::debug!(progress = ?turn.progress(), "tips are chosen again while mining"),
        }
    }
}

impl From<Busy> for ApiError {
    fn from(busy: Busy) -> Self {
        Self::unavailable(busy.to_string()).retry_after(busy.retry_after_s)
    }
}

/// iota-sdk looks for the words "proof of work is not enabled" and then mines itself.
fn no_remote_pow(missing: &str) -> String {
    format!(
        "invalid block: {missing} missing, and proof of work is not enabled on this node: choose tips and \
         find a nonce yourself (local proof of work), or ask the operator to set pow.enabled"
    )
}

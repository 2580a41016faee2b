//! `control`: what only the owner may ask for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::{Api, read_long};
use crate::keeper::{self, Sizes};
use crate::protocol::id::MilestoneIndex;
use crate::store::{PruneError, Reader};

/// Which milestone the snapshot is to be of.
#[derive(Debug, Deserialize)]
pub(super) struct CreateRequest {
    index: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Created {
    index: u32,
    file_path: String,
}

/// Writes a full snapshot; answers when it is on disk.
pub(super) async fn create_snapshot(
    State(api): State<Arc<Api>>,
    body: axum::body::Bytes,
) -> Result<Json<Created>, ApiError> {
    let request: CreateRequest = serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request(format!("invalid request: {error}; write {{\"index\": N}}"))
    })?;
    if request.index == 0 {
        return Err(ApiError::bad_request("invalid request: index: 0 stands for none; name a milestone"));
    }
    check_limits(&api, request.index)?;
    let (reader, keeper) = (api.node.reader.clone(), api.keeper.clone());
    let written = in_turn(move || keeper.create(&reader, MilestoneIndex(request.index))).await?;
    let path = written.map_err(|error| ApiError::failed(format!("creating snapshot failed: {error}")))?;
    Ok(Json(Created { index: request.index, file_path: path.display().to_string() }))
}

/// Another snapshot, which the node takes by itself, is waited for so long.
const TURN_WITHIN: Duration = Duration::from_secs(30);

/// Between two looks whether it is written.
const LOOK: Duration = Duration::from_millis(200);

/// Takes a snapshot when no other is being written.
async fn in_turn<T: Send + 'static>(
    take: impl Fn() -> Result<T, keeper::Error> + Clone + Send + 'static,
) -> Result<Result<T, keeper::Error>, ApiError> {
    let started = Instant::now();
    loop {
        let taken = tokio::task::spawn_blocking(take.clone()).await;
        match taken.map_err(|_| ApiError::unavailable("the snapshot was interrupted"))? {
            Err(keeper::Error::Busy) if started.elapsed() < TURN_WITHIN => tokio::time::sleep(LOOK).await,
            Err(error @ keeper::Error::Busy) => {
                return Err(ApiError::unavailable(error.to_string()).retry_after(10));
            }
            taken => return Ok(taken),
        }
    }
}

/// HORNET: > solid entry points can be told once belowMaxDepth + 5 more milestones are confirmed, and as many are kept
fn check_limits(api: &Api, index: u32) -> Result<(), ApiError> {
    let status = api.node.status_now();
    let depth = u32::from(status.network.params.below_max_depth) + 5;
    let newest = status.confirmed.index.0.saturating_sub(depth);
    let oldest = (depth + 1).max(status.pruning_index.0 + 1 + depth);
    if (oldest..=newest).contains(&index) {
        return Ok(());
    }
    let range = if oldest > newest {
        format!("none is possible before milestone {}", oldest + depth)
    } else {
        format!("write {oldest} to {newest}")
    };
    Err(ApiError::failed(format!("creating snapshot failed: index {index} is out of range; {range}")))
}

/// How far to prune: exactly one of these.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PruneRequest {
    index: Option<u32>,
    depth: Option<u32>,
    target_database_size: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Pruned {
    index: u32,
}

/// Prunes, and answers when nothing before is there any more; files are unlinked beside.
pub(super) async fn prune(
    State(api): State<Arc<Api>>,
    body: axum::body::Bytes,
) -> Result<Json<Pruned>, ApiError> {
    let forms = "write {\"index\": N}, {\"depth\": N} or {\"targetDatabaseSize\": \"1GB\"}";
    let request: PruneRequest = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("invalid request: {error}; {forms}")))?;
    let failed = |problem: String| ApiError::failed(format!("pruning database failed: {problem}"));
    let target = match request {
        PruneRequest { index: Some(index), depth: None, target_database_size: None } => index,
        PruneRequest { index: None, depth: Some(depth), target_database_size: None } => {
            let confirmed = api.node.status_now().confirmed.index;
            let target = confirmed.0.checked_sub(depth).filter(|target| *target > 0);
            target
                .ok_or_else(|| failed(format!("not enough history: depth {depth}, confirmed {confirmed}")))?
        }
        PruneRequest { index: None, depth: None, target_database_size: Some(size) } => {
            let wanted = parse_size(&size).map_err(failed)?;
            target_for_size(&api, wanted).await?
        }
        _ => return Err(ApiError::bad_request(format!("invalid request: exactly one is needed; {forms}"))),
    };
    let turn = api.pruning.clone().try_acquire_owned();
    let turn = turn.map_err(|_| ApiError::unavailable("another pruning is under way").retry_after(10))?;
    // A task of its own: a client that goes away must not let another one begin meanwhile.
    let pruning = tokio::spawn(async move {
        let pruned = tokio::select! {
            pruned = prune_to(&api, MilestoneIndex(target)) => pruned,
            () = api.stopped() => Err(ApiError::unavailable("the node is stopping")),
        };
        drop(turn);
        pruned
    });
    pruning.await.map_err(|_| ApiError::unavailable("the pruning was interrupted"))?
}

async fn prune_to(api: &Api, target: MilestoneIndex) -> Result<Json<Pruned>, ApiError> {
    let failed = |problem: String| ApiError::failed(format!("pruning database failed: {problem}"));
    let mut begun = api.node.begin_prune(target).await?;
    if let Err(PruneError::BeyondSnapshot { wanted, .. }) = begun {
        // What is pruned now is what a damaged ledger would be made again from: the node's own snapshot goes on first.
        let (reader, keeper) = (api.node.reader.clone(), api.keeper.clone());
        let led = in_turn(move || match keeper.anchor().lets_go(wanted) {
            // Another one, which was being written, leads as far.
            true => Ok(()),
            false => keeper.lead_on(&reader, wanted, Sizes::HORNET).map(drop),
        });
        led.await?.map_err(|error| failed(format!("taking a snapshot before: {error}")))?;
        begun = api.node.begin_prune(target).await?;
    }
    let begun = begun.map_err(|error| failed(error.to_string()))?;
    let done = tokio::task::spawn_blocking(move || begun.run()).await;
    let done = done.map_err(|_| ApiError::unavailable("the pruning was interrupted"))?;
    let done = done.map_err(|error| failed(error.to_string()))?;
    let finished = api.node.finish_prune(done).await?;
    Ok(Json(Pruned { index: finished.map_err(|error| failed(error.to_string()))?.0 }))
}

/// A tenth less than what is wanted, so that the next milestones find room, as in HORNET.
const SIZE_MARGIN_PERCENT: u64 = 10;

/// HORNET: > as many milestones are kept as take the size that is wanted, if all take as much
async fn target_for_size(api: &Api, wanted: u64) -> Result<u32, ApiError> {
    let size = read_long(&api.node, Reader::disk_bytes).await?;
    let status = api.node.status_now();
    let (confirmed, pruned) = (u64::from(status.confirmed.index.0), u64::from(status.pruning_index.0));
    if size < wanted || wanted == 0 {
        let problem = format!("no pruning needed: the database has {size} bytes, wanted {wanted}");
        return Err(ApiError::failed(format!("pruning database failed: {problem}")));
    }
    let room = u128::from(wanted) * u128::from(100 - SIZE_MARGIN_PERCENT) / 100;
    let kept = (u128::from(confirmed - pruned) * room).div_ceil(u128::from(size.max(1)));
    let target = u128::from(confirmed).saturating_sub(kept);
    Ok(u32::try_from(target).unwrap_or(u32::MAX))
}

/// A number of bytes with a unit, as HORNET reads it: `500MB`, `1.5 GiB`, a bare number.
fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("targetDatabaseSize: {text:?} is no size; write like 500MB or 1GB");
    let trimmed = text.trim();
    let digits =
        trimmed.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let power = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1.0,
        "K" | "KB" | "KIB" => 1024.0,
        "M" | "MB" | "MIB" => 1024.0 * 1024.0,
        "G" | "GB" | "GIB" => 1024.0 * 1024.0 * 1024.0,
        "T" | "TB" | "TIB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    let bytes = number * power;
    // Sizes of disks are far below 2^53: a float holds them.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    if (0.0..9e15).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("1GB"), Ok(1 << 30));
        assert_eq!(parse_size(" 1.5 MiB "), Ok(3 << 19));
        assert_eq!(parse_size("17"), Ok(17));
        for wrong in ["", "GB", "1XB", "-1GB", "1e99", "99999999TB", "1.2.3MB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}

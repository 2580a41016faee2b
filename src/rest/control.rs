//! `control`: what only the owner may ask for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::ApiError;
use crate::keeper;
use crate::protocol::id::MilestoneIndex;

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
    let written =
        tokio::task::spawn_blocking(move || keeper.create(&reader, MilestoneIndex(request.index))).await;
    let path = match written.map_err(|_| ApiError::unavailable("the snapshot was interrupted"))? {
        Ok(path) => path,
        Err(error @ keeper::Error::Busy) => {
            return Err(ApiError::unavailable(error.to_string()).retry_after(10));
        }
        Err(error) => return Err(ApiError::failed(format!("creating snapshot failed: {error}"))),
    };
    Ok(Json(Created { index: request.index, file_path: path.display().to_string() }))
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

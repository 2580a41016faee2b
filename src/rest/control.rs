//! `control`: what only the owner may ask for.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::Api;
use super::error::ApiError;
use crate::files;
use crate::protocol::id::MilestoneIndex;
use crate::store::{ExportError, Reader};

/// Where snapshots are written, one at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshots {
    folder: PathBuf,
    turn: Arc<Semaphore>,
}

impl Snapshots {
    /// In this folder, which is made when it is needed. What a power cut left half written is deleted.
    pub fn new(folder: PathBuf) -> Self {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "tmp") {
                // It only takes room.
                let _ = fs::remove_file(entry.path());
            }
        }
        Self { folder, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Whether a tenth of the disk is free: a snapshot must not take the room that milestones need.
    fn has_room(&self) -> bool {
        let near = self.folder.ancestors().find(|folder| folder.exists());
        let about = near.and_then(|folder| rustix::fs::statvfs(folder).ok());
        about.is_none_or(|about| about.f_bavail.saturating_mul(10) >= about.f_blocks)
    }
}

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
    check_limits(&api, request.index)?;
    if !api.snapshots.has_room() {
        return Err(ApiError::failed("creating snapshot failed: less than a tenth of the disk is free"));
    }
    let turn = api.snapshots.turn.clone().try_acquire_owned();
    let turn =
        turn.map_err(|_| ApiError::unavailable("another snapshot is being written").retry_after(10))?;
    let (reader, folder) = (api.node.reader.clone(), api.snapshots.folder.clone());
    let written = tokio::task::spawn_blocking(move || {
        let written = write(&reader, &folder, MilestoneIndex(request.index));
        drop(turn);
        written
    });
    let path = written.await.map_err(|_| ApiError::unavailable("the snapshot was interrupted"))?;
    let path = path.map_err(|error| ApiError::failed(format!("creating snapshot failed: {error}")))?;
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

/// Under a name of its own until it is whole.
fn write(reader: &Reader, folder: &Path, index: MilestoneIndex) -> Result<PathBuf, ExportError> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("full_snapshot_{index}.bin"));
    let temporary = path.with_extension("tmp");
    let mut file = BufWriter::new(File::create(&temporary)?);
    let written = reader.write_full(index, &mut file).and_then(|_| {
        file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        fs::rename(&temporary, &path)?;
        Ok(files::sync_folder(folder)?)
    });
    if written.is_err() {
        // What is left of it only takes room.
        let _ = fs::remove_file(&temporary);
    }
    written.map(|()| path)
}

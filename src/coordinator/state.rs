//! The newest signed milestone, on disk before anybody else sees it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use crate::files;
use crate::protocol::hex;
use crate::protocol::id::MilestoneIndex;

const FILE: &str = "coordinator.state";

/// What was signed last.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    /// 0 when nothing was signed yet.
    pub(super) index: u32,
    block: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    latest_milestone_index: u32,
    /// The whole block, so that it can be submitted again.
    latest_milestone_block: String,
}

impl State {
    pub(super) fn exists(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    pub(super) fn create(folder: &Path) -> Result<(), Error> {
        let mut state = Self { path: folder.join(FILE), index: 0, block: String::new() };
        state.write(0, String::new())
    }

    pub(super) fn load(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let wrong = |problem: String| Error::File { path: path.display().to_string(), problem };
        let text = std::fs::read(&path).map_err(|error| {
            wrong(format!("{error}; without it this key could fork the network: restore it from a backup"))
        })?;
        let json: Json = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("{error}; restore it from a backup")))?;
        Ok(Self { path, index: json.latest_milestone_index, block: json.latest_milestone_block })
    }

    /// An error about this file.
    pub(super) fn damaged(&self, problem: &str) -> Error {
        let problem = format!("{problem}; restore it from a backup");
        Error::File { path: self.path.display().to_string(), problem }
    }

    /// The block signed last.
    pub(super) fn block(&self) -> Result<Vec<u8>, Error> {
        hex::decode("latestMilestoneBlock", &self.block).map_err(|error| self.damaged(&error.to_string()))
    }

    /// Remembers a signed block durably.
    pub(super) fn save(&mut self, index: MilestoneIndex, block: &[u8]) -> Result<(), Error> {
        self.write(index.0, hex::encode(block))
    }

    /// Forgets what was signed after that; on disk when the next is.
    pub(super) fn go_back(&mut self, index: u32) {
        self.index = index;
        self.block = String::new();
    }

    fn write(&mut self, index: u32, block: String) -> Result<(), Error> {
        let wrong = |problem: String| Error::File { path: self.path.display().to_string(), problem };
        let json = Json { latest_milestone_index: index, latest_milestone_block: block };
        let text = serde_json::to_vec(&json).map_err(|error| wrong(error.to_string()))?;
        files::write_atomic(&self.path, &text, 0o600).map_err(|error| wrong(error.to_string()))?;
        self.index = index;
        self.block = json.latest_milestone_block;
        Ok(())
    }
}

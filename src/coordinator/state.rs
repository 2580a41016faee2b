//! The newest signed milestone, on disk before anybody else sees it.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use crate::files;
use crate::protocol::id::MilestoneIndex;
use crate::protocol::{blake2b_256, hex};

const FILE: &str = "coordinator.state";

/// The file holds its line twice, each in pages of its own: what damages one is healed from the other.
const PAGE_BYTES: usize = 4_096;

/// Twice a block of 32 KiB in hexadecimal digits, and the rest.
const MOST_BYTES: usize = 1 << 18;

/// What was signed last.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    /// 0 when nothing was signed yet; nothing when the file cannot tell.
    pub(super) index: Option<u32>,
    block: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    latest_milestone_index: u32,
    /// The whole block, so that it can be submitted again.
    latest_milestone_block: String,
    /// BLAKE2b-256 of both.
    checksum: String,
}

impl Line {
    fn new(index: u32, block: String) -> Self {
        let checksum = hex::encode(&blake2b_256(&[&index.to_le_bytes(), block.as_bytes()].concat()));
        Self { latest_milestone_index: index, latest_milestone_block: block, checksum }
    }

    /// Nothing when any of it was changed.
    fn read(text: &[u8]) -> Option<Self> {
        let found = serde_json::from_slice::<Self>(text).ok()?;
        let checksum = found.checksum.clone();
        let line = Self::new(found.latest_milestone_index, found.latest_milestone_block);
        (line.checksum == checksum).then_some(line)
    }

    /// As JSON, to the end of a page, between line ends of its own.
    fn padded(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = format!("\n{}", serde_json::to_string(self)?).into_bytes();
        let length = (text.len() + 1).next_multiple_of(PAGE_BYTES);
        text.resize(length - 1, b' ');
        text.push(b'\n');
        Ok(text)
    }
}

/// What can be read of a file: zeros stand for pages that cannot.
fn readable(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0).min(MOST_BYTES);
    let mut text = vec![0; length];
    for (at, page) in (0..).step_by(PAGE_BYTES).zip(text.chunks_mut(PAGE_BYTES)) {
        if let Err(error) = file.read_exact_at(page, at) {
            tracing::warn!("{}: from byte {at}: {error}", path.display());
            page.fill(0);
        }
    }
    Ok(text)
}

impl State {
    pub(super) fn exists(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    pub(super) fn create(folder: &Path) -> Result<(), Error> {
        let mut state = Self { path: folder.join(FILE), index: None, block: String::new() };
        state.write(0, String::new())
    }

    /// A file that is missing or damaged in both its halves is no error yet: the index is not known then.
    pub(super) fn load(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let text = readable(&path).unwrap_or_else(|error| {
            tracing::warn!("{}: {error}", path.display());
            Vec::new()
        });
        let mut lines = text.split(|byte| *byte == b'\n').filter_map(Line::read);
        let Some(line) = lines.next() else {
            return Self { path, index: None, block: String::new() };
        };
        if lines.next().is_none() {
            tracing::warn!("{}: half of it is damaged; the other half is used", path.display());
        }
        Self { path, index: Some(line.latest_milestone_index), block: line.latest_milestone_block }
    }

    pub(super) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// An error about this file.
    pub(super) fn damaged(&self, problem: &str) -> Error {
        Error::File { path: self.path(), problem: format!("{problem}; restore it from a backup") }
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
        self.index = Some(index);
        self.block = String::new();
    }

    fn write(&mut self, index: u32, block: String) -> Result<(), Error> {
        let wrong = |problem: String| Error::File { path: self.path.display().to_string(), problem };
        let line = Line::new(index, block);
        let text = line.padded().map_err(|error| wrong(error.to_string()))?.repeat(2);
        files::write_atomic(&self.path, &text, 0o600).map_err(|error| wrong(error.to_string()))?;
        self.index = Some(index);
        self.block = line.latest_milestone_block;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_within_half_of_the_file_is_healed_by_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::load(folder.path());
        assert_eq!(state.index, None);
        State::create(folder.path()).unwrap();
        assert_eq!(State::load(folder.path()).index, Some(0));
        state.save(MilestoneIndex(7), &[0xab; 700]).unwrap();
        let path = folder.path().join(FILE);
        let good = std::fs::read(&path).unwrap();
        assert_eq!(good.len(), 2 * PAGE_BYTES);
        let index_after = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut text = good.clone();
            change(&mut text);
            std::fs::write(&path, text).unwrap();
            let state = State::load(folder.path());
            assert!(state.index.is_none() || state.block().unwrap() == [0xab; 700]);
            state.index
        };
        for at in (0..good.len()).step_by(97) {
            assert_eq!(index_after(&|text| text[at] ^= 1), Some(7), "byte {at}");
        }
        for half in [0..PAGE_BYTES, PAGE_BYTES..2 * PAGE_BYTES] {
            assert_eq!(index_after(&|text| text[half.clone()].fill(0)), Some(7), "{half:?}");
        }
        assert_eq!(index_after(&|text| text.truncate(PAGE_BYTES + 100)), Some(7));
        assert_eq!(index_after(&|text| text.truncate(100)), None);
        assert_eq!(index_after(&|text| text.iter_mut().step_by(1_000).for_each(|byte| *byte ^= 1)), None);
    }
}

//! Room on the disk that the store lies on: some of it is never used, so that nothing breaks for want of it.

use std::path::{Path, PathBuf};

use super::Error;
use crate::files::Room;

/// An epoch holds at most this part of the disk: so much comes back when one is dropped.
const EPOCH_PART: u64 = 16;

/// What a start and some dozen idle milestones take, several times.
const BALLAST_BYTES: u64 = 16 << 20;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Space {
    folder: PathBuf,
    total: u64,
}

impl Space {
    pub(super) fn of(folder: &Path) -> Result<Self, Error> {
        let about = measure(folder)?;
        Ok(Self { folder: folder.to_path_buf(), total: about.f_blocks.saturating_mul(about.f_frsize) })
    }

    /// Bytes of blocks after which an epoch ends, at most `most`.
    pub(super) fn epoch_bytes(&self, most: u64) -> u64 {
        (self.total / EPOCH_PART).clamp(1 << 16, most)
    }

    /// Of the file that only takes room.
    pub(super) fn ballast_bytes(&self) -> u64 {
        (self.total / EPOCH_PART).min(BALLAST_BYTES)
    }

    /// What may be written before the reserve is touched.
    pub(super) fn spare_bytes(&self) -> Result<u64, Error> {
        Ok(self.room()?.spare())
    }

    /// Whether the reserve is touched.
    pub(super) fn is_low(&self) -> Result<bool, Error> {
        Ok(self.spare_bytes()? == 0)
    }

    /// Whether little of the reserve is left.
    pub(super) fn is_nearly_full(&self) -> Result<bool, Error> {
        Ok(self.room()?.spare_of_reserve() == 0)
    }

    fn room(&self) -> Result<Room, Error> {
        Room::of(&self.folder).map_err(Error::io("measuring", &self.folder))
    }
}

fn measure(folder: &Path) -> Result<rustix::fs::StatVfs, Error> {
    rustix::fs::statvfs(folder).map_err(|error| Error::io("measuring", folder)(error.into()))
}

//! The newest committed milestone, once more, outside of sled: of a log that lost its end, sled says nothing.
//!
//! Eight bytes, written in place after each commit and not synced: what is there is never ahead of what is durable, and after a
//! power cut may be behind.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::Error;
use crate::protocol::id::MilestoneIndex;

const NAME: &str = "head";

#[derive(Debug)]
pub(super) struct Head {
    file: File,
    path: PathBuf,
}

impl Head {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(NAME);
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        Ok(Self { file: file.map_err(Error::io("opening", &path))?, path })
    }

    /// 0 when it is not known.
    pub(super) fn read(&self) -> MilestoneIndex {
        let mut bytes = [0; 8];
        if self.file.read_exact_at(&mut bytes, 0).is_err() {
            return MilestoneIndex(0);
        }
        let number = u64::from_be_bytes(bytes);
        let (index, check) = (number >> 32, number & 0xffff_ffff);
        let whole = index ^ check == 0xffff_ffff;
        MilestoneIndex(u32::try_from(index).ok().filter(|_| whole).unwrap_or(0))
    }

    pub(super) fn write(&self, index: MilestoneIndex) -> Result<(), Error> {
        let bytes = [index.0.to_be_bytes(), (!index.0).to_be_bytes()].concat();
        self.file.write_all_at(&bytes, 0).map_err(Error::io("writing", &self.path))
    }
}

/// The epochs end before it from now on.
pub(super) fn forget(folder: &Path) -> Result<(), Error> {
    let path = folder.join(NAME);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("deleting", &path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

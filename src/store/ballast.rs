//! A file that only takes room, given back when somebody fills the disk to the last byte: what a start needs, and the living part
//! of the Tangle, then fits in.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use super::Error;
use super::space::Space;

const NAME: &str = "ballast";

/// As long as the disk has room for several of them. Where it cannot be, there is none.
pub(super) fn lay(folder: &Path, space: &Space) -> Result<(), Error> {
    let (path, bytes) = (folder.join(NAME), space.ballast_bytes());
    // A power cut may leave one that is empty.
    let lies = fs::metadata(&path).is_ok_and(|about| about.blocks().saturating_mul(512) >= bytes);
    if lies || space.spare_bytes()? < bytes.saturating_mul(4) {
        return Ok(());
    }
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
    let file = file.map_err(Error::io("making", &path))?;
    if let Err(error) = fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        tracing::debug!(%error, "no ballast on this file system");
        fs::remove_file(&path).map_err(Error::io("deleting", &path))?;
    }
    Ok(())
}

/// Gives it back, if little room is left otherwise.
pub(super) fn give_back(folder: &Path, space: &Space) -> Result<(), Error> {
    if !space.is_nearly_full()? {
        return Ok(());
    }
    let path = folder.join(NAME);
    match fs::remove_file(&path) {
        Ok(()) => {
            tracing::warn!("somebody filled the disk: {} is given back", path.display());
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("deleting", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::{NAME, lay};
    use crate::store::space::Space;

    #[test]
    fn it_takes_its_room_also_after_a_power_cut_left_it_empty() {
        // Where there is a disk below.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let space = Space::of(folder.path()).unwrap();
        let taken = || fs::metadata(folder.path().join(NAME)).unwrap().blocks() * 512;
        for _ in 0..2 {
            lay(folder.path(), &space).unwrap();
            assert!(taken() >= space.ballast_bytes());
            fs::write(folder.path().join(NAME), "").unwrap();
        }
    }
}

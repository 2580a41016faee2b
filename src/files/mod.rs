//! Small files that must be whole after a power cut.

pub mod twice;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Replaces a file: the old or the new content survives a power cut, never a mixture. Two fsyncs.
///
/// # Errors
/// Those of the file system; the old content then still stands.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Replaces a file in memory, where power cuts do not matter: a reader sees the old or the new content.
///
/// # Errors
/// Those of the file system; the old content then still stands.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, content)?;
    fs::rename(&temporary, path)
}

/// At least a tenth of a disk stays free, but no more than this.
const MOST_RESERVED: u64 = 1 << 30;

/// Opening a store takes some MiB.
const LEAST_RESERVED: u64 = 16 << 20;

/// Room on the disk that a folder lies on, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    free: u64,
    reserve: u64,
}

impl Room {
    /// As it is now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let about = rustix::fs::statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
        Ok(Self { free: bytes(about.f_bavail), reserve: (bytes(about.f_blocks) / 10).min(MOST_RESERVED) })
    }

    /// What may still be written before the reserve is touched that milestones need.
    pub fn spare(self) -> u64 {
        self.free.saturating_sub(self.reserve)
    }

    /// The same for what makes room: a quarter of the reserve stays, and what a start needs.
    pub fn spare_of_reserve(self) -> u64 {
        self.free.saturating_sub((self.reserve / 4).max(LEAST_RESERVED).min(self.reserve))
    }
}

/// A process that was told to end, or was killed, is gone by then.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// A folder that one process works on at a time, as long as this lives: two would take each other's work for left-overs.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl Hold {
    /// Takes hold of a folder, by a lock on it.
    ///
    /// # Errors
    /// Another process has; those of the file system.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let file = File::open(folder)?;
        let take = || rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        let (started, mut taken) = (Instant::now(), take());
        // One that is ending lets go of it a little later.
        while taken == Err(rustix::io::Errno::WOULDBLOCK) && started.elapsed() < ENDS_WITHIN {
            std::thread::sleep(Duration::from_millis(20));
            taken = take();
        }
        match taken {
            Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another process works on this folder; stop it first",
            )),
            locked => Ok(locked.map(|()| Self(file))?),
        }
    }
}

/// Makes the entries of a folder durable.
///
/// # Errors
/// Those of the file system.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Bytes of a file, or of all files below a folder; 0 when there is none.
///
/// # Errors
/// Those of the file system.
pub fn bytes_below(path: &Path) -> io::Result<u64> {
    let about = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        about => about?,
    };
    if !about.is_dir() {
        return Ok(about.len());
    }
    fs::read_dir(path)?.map(|entry| bytes_below(&entry?.path())).sum()
}

//! Small files that must be whole after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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

/// Bytes that may still be written in a folder before the reserve is touched that milestones need.
///
/// # Errors
/// Those of the file system.
pub fn spare_bytes(folder: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
    Ok(bytes(about.f_bavail).saturating_sub((bytes(about.f_blocks) / 10).min(MOST_RESERVED)))
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

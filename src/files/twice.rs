//! Small files that nothing can make again, as keys: each has a copy beside it, with a checksum, from which it is healed.
//!
//! The file itself keeps the form that other programs know. Whoever changes it by hand is believed: but a few bits that differ are
//! no other key, they are damage.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{sync_folder, write_atomic};
use crate::protocol::{blake2b_256, hex};

/// Bytes in which a damaged file may differ from its copy; two keys differ in nearly all.
const SLIGHTLY: usize = 8;

/// Who writes such a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// This program; another one may bring a whole other file.
    Program,
    /// People as well: a letter that differs is what they meant.
    People,
}

/// What became of such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<T> {
    /// There is none, and no copy.
    Missing,
    /// As it was written, or healed.
    Whole(T),
    /// It is there, but neither it nor its copy can be read.
    Damaged,
}

/// Writes a file and its copy. A power cut between leaves the new file and the old copy, or none.
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write_atomic(path, content, mode)?;
    write_copy(path, content, mode)
}

/// Whether there is one, or its copy.
pub fn exists(path: &Path) -> bool {
    path.exists() || copy_path(path).exists()
}

/// Reads a file that `parse` can tell from damage, and heals it or its copy.
///
/// # Errors
/// It must not be read; or it cannot be healed.
pub fn read<T>(
    path: &Path,
    mode: u32,
    writer: Writer,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Found<T>> {
    let file = match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
        // A folder in its place, a sector that cannot be read: nothing that `parse` likes.
        Err(error) => {
            tracing::warn!("{}: {error}", path.display());
            Some(Vec::new())
        }
    };
    let copy = read_copy(path);
    let own = file.as_deref().and_then(&parse);
    let kept = copy.as_deref().and_then(|copy| Some((copy, parse(copy)?)));
    match (file, own, kept) {
        (Some(file), Some(_), Some((copy, kept)))
            if writer == Writer::Program && differ_slightly(&file, copy) =>
        {
            heal(path, copy, mode)?;
            Ok(Found::Whole(kept))
        }
        (Some(file), Some(own), _) => {
            if copy.as_deref() != Some(file.as_slice())
                && let Err(error) = write_copy(path, &file, mode)
            {
                tracing::warn!("{}: no copy is kept: {error}", path.display());
            }
            Ok(Found::Whole(own))
        }
        (_, _, Some((copy, kept))) => {
            heal(path, copy, mode)?;
            Ok(Found::Whole(kept))
        }
        (None, _, None) if copy.is_none() => Ok(Found::Missing),
        (_, _, None) => Ok(Found::Damaged),
    }
}

fn heal(path: &Path, copy: &[u8], mode: u32) -> io::Result<()> {
    let shown = path.display();
    tracing::warn!("{shown}: missing or damaged: healed from its copy (to be rid of it, delete both)");
    if path.is_dir() {
        fs::rename(path, with_ending(path, "damaged"))?;
    }
    write_atomic(path, copy, mode)
}

fn differ_slightly(file: &[u8], copy: &[u8]) -> bool {
    let differing = file.iter().zip(copy).filter(|(one, other)| one != other).count();
    file.len() == copy.len() && (1..=SLIGHTLY).contains(&differing)
}

/// A line with the checksum of what follows.
fn write_copy(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let copy = copy_path(path);
    if copy.is_dir() {
        fs::rename(&copy, with_ending(&copy, "damaged"))?;
        copy.parent().map_or(Ok(()), sync_folder)?;
    }
    let sum = hex::encode(&blake2b_256(content));
    write_atomic(&copy, &[sum.as_bytes(), b"\n", content].concat(), mode)
}

fn read_copy(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(copy_path(path)).ok()?;
    let at = bytes.iter().position(|byte| *byte == b'\n')?;
    let (sum, content) = (&bytes[..at], &bytes[at + 1..]);
    (hex::encode(&blake2b_256(content)).as_bytes() == sum).then(|| content.to_vec())
}

fn copy_path(path: &Path) -> PathBuf {
    with_ending(path, "copy")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(format!(".{ending}"));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Found, Writer, copy_path, exists, read, write};

    const KEY: &[u8] = b"0x0123456789abcdef0123456789abcdef";

    /// Hex digits after a prefix, of one length.
    fn parse(bytes: &[u8]) -> Option<Vec<u8>> {
        let digits = bytes.strip_prefix(b"0x").filter(|digits| digits.len() == 32)?;
        digits.iter().all(u8::is_ascii_hexdigit).then(|| bytes.to_vec())
    }

    fn found(path: &Path) -> Found<Vec<u8>> {
        read(path, 0o600, Writer::Program, parse).unwrap()
    }

    /// Both are as they were.
    fn assert_healed(path: &Path, what: &str) {
        assert_eq!(found(path), Found::Whole(KEY.to_vec()), "{what}");
        assert_eq!(fs::read(path).unwrap(), KEY, "{what}");
        fs::remove_file(path).unwrap();
        assert_eq!(found(path), Found::Whole(KEY.to_vec()), "copy after {what}");
    }

    #[test]
    fn any_single_fault_is_healed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.key");
        assert!(found(&path) == Found::Missing && !exists(&path));
        write(&path, KEY, 0o600).unwrap();
        for place in [path.clone(), copy_path(&path)] {
            let whole = fs::read(&place).unwrap();
            for at in 0..whole.len() {
                let flipped = {
                    let mut bytes = whole.clone();
                    bytes[at] ^= 1;
                    bytes
                };
                let zeros = [&whole[..at], &vec![0; whole.len() - at]].concat();
                for damaged in [flipped, zeros, whole[..at].to_vec()] {
                    fs::write(&place, damaged).unwrap();
                    assert_healed(&path, &format!("{} from byte {at}", place.display()));
                }
            }
            fs::remove_file(&place).unwrap();
            assert_healed(&path, "removal");
            fs::remove_file(&place).unwrap();
            fs::create_dir(&place).unwrap();
            assert_healed(&path, "a folder");
        }
        fs::write(&path, b"nothing").unwrap();
        fs::write(copy_path(&path), b"nothing").unwrap();
        assert!(found(&path) == Found::Damaged && exists(&path));
    }

    #[test]
    fn whoever_brings_another_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.key");
        write(&path, KEY, 0o600).unwrap();
        let edited = b"0x0123456789abcdef0123456789abcdee";
        fs::write(&path, edited).unwrap();
        assert_eq!(read(&path, 0o600, Writer::People, parse).unwrap(), Found::Whole(edited.to_vec()));
        let other = b"0xfedcba9876543210fedcba9876543210";
        fs::write(&path, other).unwrap();
        assert_eq!(found(&path), Found::Whole(other.to_vec()));
        fs::remove_file(&path).unwrap();
        assert_eq!(found(&path), Found::Whole(other.to_vec()));
    }
}

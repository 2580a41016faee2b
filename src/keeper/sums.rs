//! Checksums of the snapshot files that the node wrote, or began with: a file that says of itself what it should hold may still
//! hold an address with a bit flipped, and would become the ledger.
//!
//! `full_snapshot.bin.sums`, `delta_snapshot.bin.sums`: two lines, of the file that stands there and of the one before or to
//! come, so that a power cut between two writes leaves one that fits. A line is the length in bytes, BLAKE2b-256 of what the file
//! begins with, of each mebibyte, and of all that.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::files;
use crate::protocol::{blake2b_256, hex};

/// Bytes under one checksum.
const PIECE_BYTES: u64 = 1 << 20;

/// A snapshot begins with its version, type and target.
const BEGINNING_BYTES: u64 = 42;

/// See the module. 32 bytes for each mebibyte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    bytes: u64,
    beginning: [u8; 32],
    pieces: Vec<[u8; 32]>,
}

impl Sums {
    /// O(bytes): reads it all.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        let pieces = (0..pieces_of(bytes)).map(|piece| sum(file, piece)).collect::<io::Result<_>>()?;
        Ok(Self { bytes, beginning: beginning(file)?, pieces })
    }

    /// Of a file that was changed at its beginning and from a byte on. Reads no more than these pieces.
    pub(super) fn changed_from(&self, file: &File, from: u64) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        let kept = |piece: u64| piece > 0 && piece < from / PIECE_BYTES;
        let old = |piece: u64| self.pieces.get(usize::try_from(piece).ok()?).filter(|_| kept(piece));
        let new = |piece: u64| old(piece).map_or_else(|| sum(file, piece), |old| Ok(*old));
        let pieces = (0..pieces_of(bytes)).map(new).collect::<io::Result<_>>()?;
        Ok(Self { bytes, beginning: beginning(file)?, pieces })
    }

    /// Whether they are of a file of this length.
    pub(super) fn speaks_of(&self, bytes: u64) -> bool {
        self.bytes == bytes
    }

    /// Whether the file begins like theirs: it says that it holds the same.
    pub(super) fn begins(&self, file: &File) -> io::Result<bool> {
        Ok(beginning(file)? == self.beginning)
    }

    /// Whether the file is as it was. O(bytes).
    pub(super) fn fit(&self, file: &File) -> io::Result<bool> {
        self.fit_in(file, |_| true)
    }

    /// The same for its beginning and from a byte on.
    pub(super) fn fit_from(&self, file: &File, from: u64) -> io::Result<bool> {
        self.fit_in(file, |piece| piece == 0 || piece >= from / PIECE_BYTES)
    }

    /// The same for one mebibyte, whichever number comes.
    pub(super) fn fit_somewhere(&self, file: &File, number: u64) -> io::Result<bool> {
        self.fit_in(file, |piece| piece == number % pieces_of(self.bytes).max(1))
    }

    fn fit_in(&self, file: &File, looked_at: impl Fn(u64) -> bool) -> io::Result<bool> {
        if file.metadata()?.len() != self.bytes {
            return Ok(false);
        }
        for (piece, wanted) in (0..).zip(&self.pieces) {
            if looked_at(piece) && sum(file, piece)? != *wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Those that are kept of a file; none when their own file is not there, or damaged.
    pub(super) fn kept_of(path: &Path) -> Vec<Self> {
        let text = fs::read_to_string(sums_path(path)).unwrap_or_default();
        text.lines().filter_map(Self::parse).collect()
    }

    /// Forgets those of a file: another one takes its place.
    pub(super) fn forget(path: &Path) -> io::Result<()> {
        match fs::remove_file(sums_path(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Keeps these of a file, durably; the others are forgotten.
    pub(super) fn keep(path: &Path, all: &[&Self]) -> io::Result<()> {
        let text = all.iter().map(|sums| sums.line()).collect::<String>();
        files::write_atomic(&sums_path(path), text.as_bytes(), 0o644)
    }

    fn line(&self) -> String {
        let pieces = self.pieces.iter().map(|sum| format!(" {}", digits(sum))).collect::<String>();
        let told = format!("{} {}{pieces}", self.bytes, digits(&self.beginning));
        format!("{told} {}\n", digits(&blake2b_256(told.as_bytes())))
    }

    fn parse(line: &str) -> Option<Self> {
        let (told, check) = line.rsplit_once(' ')?;
        if digits(&blake2b_256(told.as_bytes())) != check {
            return None;
        }
        let mut words = told.split(' ');
        let bytes = words.next()?.parse().ok()?;
        let sum = |word: &str| hex::decode_array("sum", &format!("0x{word}")).ok();
        let beginning = sum(words.next()?)?;
        let pieces = words.map(sum).collect::<Option<Vec<_>>>()?;
        (pieces.len() as u64 == pieces_of(bytes)).then_some(Self { bytes, beginning, pieces })
    }
}

fn digits(sum: &[u8; 32]) -> String {
    hex::encode(sum).trim_start_matches("0x").to_owned()
}

fn sums_path(path: &Path) -> PathBuf {
    path.with_added_extension("sums")
}

fn pieces_of(bytes: u64) -> u64 {
    bytes.div_ceil(PIECE_BYTES)
}

fn beginning(file: &File) -> io::Result<[u8; 32]> {
    sum_of(file, 0, BEGINNING_BYTES)
}

fn sum(file: &File, piece: u64) -> io::Result<[u8; 32]> {
    sum_of(file, piece * PIECE_BYTES, PIECE_BYTES)
}

fn sum_of(file: &File, from: u64, most: u64) -> io::Result<[u8; 32]> {
    let length = file.metadata()?.len().saturating_sub(from).min(most);
    // A mebibyte at most.
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    Ok(blake2b_256(&bytes))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::Sums;

    #[test]
    fn a_changed_byte_is_noticed_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.bin");
        let mut bytes = vec![7; (2 << 20) + 99];
        fs::write(&path, &bytes).unwrap();
        let sums = Sums::of(&File::open(&path).unwrap()).unwrap();
        for at in [0, 5, 1 << 20, (2 << 20) - 1, bytes.len() - 1] {
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let file = File::open(&path).unwrap();
            assert!(!sums.fit(&file).unwrap(), "{at}");
            let somewhere = (0..3).filter(|piece| !sums.fit_somewhere(&file, *piece).unwrap()).count();
            assert_eq!(somewhere, 1, "{at}");
            assert_eq!(sums.begins(&file).unwrap(), at > 41, "{at}");
            bytes[at] ^= 1;
        }
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(!sums.fit(&File::open(&path).unwrap()).unwrap());
    }

    #[test]
    fn what_is_gone_on_with_is_read_where_it_changed_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.bin");
        let mut bytes = vec![7; 3 << 20];
        fs::write(&path, &bytes).unwrap();
        let old = Sums::of(&File::open(&path).unwrap()).unwrap();
        bytes.extend([9; 1000]);
        bytes[3] = 1;
        bytes[(2 << 20) + 3] = 1;
        fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        let new = old.changed_from(&file, (2 << 20) + 1).unwrap();
        assert_eq!(new, Sums::of(&file).unwrap());
        // What was damaged before is not taken for good.
        bytes[(1 << 20) + 3] = 1;
        fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        assert!(new.fit_from(&file, 2 << 20).unwrap());
        assert!(!new.changed_from(&file, 2 << 20).unwrap().fit(&file).unwrap());
    }

    #[test]
    fn they_are_read_as_written_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.bin");
        assert_eq!(Sums::kept_of(&path), []);
        let one = Sums { bytes: 5, beginning: [2; 32], pieces: vec![[1; 32]] };
        let none = Sums { bytes: 0, beginning: [3; 32], pieces: Vec::new() };
        Sums::keep(&path, &[&one, &none]).unwrap();
        assert_eq!(Sums::kept_of(&path), [one.clone(), none.clone()]);
        let kept = folder.path().join("one.bin.sums");
        let text = fs::read(&kept).unwrap();
        for at in 0..text.len() {
            let mut damaged = text.clone();
            damaged[at] ^= 4;
            fs::write(&kept, &damaged).unwrap();
            assert!(Sums::kept_of(&path).iter().all(|found| *found == one || *found == none), "{at}");
        }
    }
}

//! FAT partitions, byte for byte the same for the same files.

use std::io::{Cursor, Write};

use anyhow::Context;
use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

/// Every file of every image has this time.
#[derive(Debug)]
struct FixedTime;

impl TimeProvider for FixedTime {
    fn get_current_date(&self) -> Date {
        Date { year: 2025, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

/// A file system of `bytes` bytes with the files given, in its root or a folder of it.
pub(crate) fn format(bytes: u64, label: &str, files: &[(&str, &[u8])]) -> anyhow::Result<Vec<u8>> {
    let size = usize::try_from(bytes).context("partition too large for this host")?;
    let mut image = Cursor::new(vec![0; size]);
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    let id = u32::from_le_bytes([b'O', b'S', padded[0], padded[padded.len() - 1]]);
    // Some boot ROMs read nothing but true FAT32: more than 65,525 clusters.
    let options = FormatVolumeOptions::new()
        .volume_label(padded)
        .volume_id(id)
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(512);
    fatfs::format_volume(&mut image, options).context("formatting")?;
    let file_system = FileSystem::new(&mut image, FsOptions::new().time_provider(&FixedTime))?;
    for (name, content) in files {
        if let Some((folder, _)) = name.split_once('/') {
            file_system.root_dir().create_dir(folder)?;
        }
        file_system.root_dir().create_file(name)?.write_all(content).with_context(|| (*name).to_owned())?;
    }
    file_system.unmount()?;
    let mut bytes = image.into_inner();
    mend_folders(&mut bytes);
    Ok(bytes)
}

const ENTRY: usize = 32;
const LONG_NAME: u8 = 0x0f;

/// fatfs 0.3.6 puts long names before a folder's entries for itself and its parent, which must be the first two and
/// have none (Microsoft FAT specification, section 6.5): they are moved up. Folders here fit into one sector.
fn mend_folders(image: &mut [u8]) {
    for sector in image.chunks_exact_mut(512) {
        let entry = |number: usize| &sector[number * ENTRY..(number + 1) * ENTRY];
        let dots = entry(1).starts_with(b".          ") && entry(3).starts_with(b"..         ");
        if dots && entry(0)[11] == LONG_NAME && entry(2)[11] == LONG_NAME {
            let mut mended = [entry(1), entry(3), &sector[4 * ENTRY..]].concat();
            // The root, which is the parent, goes by the number 0.
            for at in [20, 21, 26, 27] {
                mended[ENTRY + at] = 0;
            }
            sector[..mended.len()].copy_from_slice(&mended);
            sector[mended.len()..].fill(0);
        }
    }
}

/// Bytes from a partition's beginning to the end of its tables and root folder: what must be written even where it
/// is zero.
pub(crate) fn table_bytes(partition: &[u8]) -> usize {
    let number = |at: usize, bytes: usize| {
        partition[at..at + bytes].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let (sector, cluster) = (number(11, 2), number(13, 1));
    let (reserved, tables, table) = (number(14, 2), number(16, 1), number(36, 4));
    (reserved + tables * table + cluster) * sector
}

/// A file of a FAT partition's root.
pub(crate) fn read(partition: &[u8], name: &str) -> anyhow::Result<Vec<u8>> {
    let file_system = FileSystem::new(Cursor::new(partition.to_vec()), FsOptions::new())?;
    let mut file = file_system.root_dir().open_file(name).with_context(|| name.to_owned())?;
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut content)?;
    Ok(content)
}

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
    Ok(image.into_inner())
}

/// A file of a FAT partition's root.
pub(crate) fn read(partition: &[u8], name: &str) -> anyhow::Result<Vec<u8>> {
    let file_system = FileSystem::new(Cursor::new(partition.to_vec()), FsOptions::new())?;
    let mut file = file_system.root_dir().open_file(name).with_context(|| name.to_owned())?;
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut content)?;
    Ok(content)
}

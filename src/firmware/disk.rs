//! The card: found by its signature, its data partition grown to the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::ioctl;
use crate::board::layout::{self, Growth, SECTOR_BYTES};

/// Blocks of the data partition's file system, in bytes.
const EXT4_BLOCK: usize = 4_096;
const EXT4_BLOCK_BYTES: u64 = EXT4_BLOCK as u64;

/// The disk that this system was started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    name: String,
}

impl Disk {
    /// The disk that carries our signature; `None` while there is none. Of several, the one of the kind that the
    /// firmware started from, else the first by name.
    ///
    /// # Errors
    /// `/sys/block` cannot be read.
    pub fn find() -> io::Result<Option<Self>> {
        let mut names = Vec::new();
        for entry in fs::read_dir("/sys/block")? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        let disks = names.into_iter().map(|name| Self { name });
        let ours = disks.filter(|disk| disk.mbr().is_ok_and(|mbr| layout::read_mbr(&mbr).is_some()));
        let mut ours = ours.collect::<Vec<_>>();
        if let Some(kind) = boot_kind() {
            ours.retain(|disk| disk.name.starts_with(kind));
        }
        if ours.len() > 1 {
            tracing::warn!(?ours, "several disks with this system: the first is used");
        }
        Ok(ours.into_iter().next())
    }

    fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// Device of a partition: `vda4`, `mmcblk0p4`.
    pub fn partition(&self, number: u32) -> PathBuf {
        let separator = if self.name.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        Path::new("/dev").join(format!("{}{separator}{number}", self.name))
    }

    fn mbr(&self) -> io::Result<[u8; 512]> {
        let mut mbr = [0; 512];
        File::open(self.device())?.read_exact(&mut mbr)?;
        Ok(mbr)
    }

    fn sectors(&self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/sys/block/{}/size", self.name))?;
        text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "size of the disk"))
    }

    /// How far the growing of partition 4 is.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn growth(&self) -> io::Result<Growth> {
        Ok(layout::growth(&self.mbr()?))
    }

    /// Lets partition 4 reach to the end of the disk and notes `growth`, in one sector: a power cut leaves the old or
    /// the new table. Gives the partition's new size in bytes when that changed.
    ///
    /// # Errors
    /// The table cannot be written, or the kernel does not take the new size.
    pub fn grow(&self, growth: Growth) -> io::Result<Option<u64>> {
        let mbr = self.mbr()?;
        let grown = layout::grown(&mbr, self.sectors()?);
        let (table, extent) = grown.map_or((mbr, None), |(table, extent)| (table, Some(extent)));
        let table = layout::with_growth(&table, growth);
        if table == mbr {
            return Ok(None);
        }
        let mut device = OpenOptions::new().read(true).write(true).open(self.device())?;
        device.seek(SeekFrom::Start(0))?;
        device.write_all(&table)?;
        device.sync_all()?;
        let Some(extent) = extent else { return Ok(None) };
        let bytes = |sectors: u64| i64::try_from(sectors * SECTOR_BYTES).unwrap_or(i64::MAX);
        ioctl::resize_partition(&device, 4, bytes(extent.start), bytes(extent.sectors))?;
        Ok(Some(extent.sectors * SECTOR_BYTES))
    }
}

/// Writes the file system that the image builder made over the first `bytes` of a partition, zeros included. `blocks`
/// are those of its blocks that are not zero: for each its number (32 bits, little-endian) and its 4,096 bytes.
///
/// # Errors
/// The list does not fit, or the partition cannot be written.
pub fn restore_fresh(device: &Path, bytes: u64, blocks: &[u8]) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "the fresh file system is damaged");
    let mut content = vec![0; usize::try_from(bytes).map_err(|_| invalid())?];
    let block = EXT4_BLOCK;
    for entry in blocks.chunks(4 + block) {
        let (number, data) = entry.split_first_chunk::<4>().ok_or_else(invalid)?;
        let at = u32::from_le_bytes(*number) as usize * block;
        content
            .get_mut(at..at + block)
            .filter(|_| data.len() == block)
            .ok_or_else(invalid)?
            .copy_from_slice(data);
    }
    let mut partition = OpenOptions::new().write(true).open(device)?;
    partition.write_all(&content)?;
    partition.sync_all()
}

/// How the kernel names disks of the kind that the board started from, where its firmware tells (Raspberry Pi
/// documentation, `boot-mode`: 1 SD card, 4 USB, 5 USB of a compute module, 6 NVMe).
fn boot_kind() -> Option<&'static str> {
    match fs::read("/proc/device-tree/chosen/bootloader/boot-mode").ok()?.as_slice() {
        [0, 0, 0, 1] => Some("mmcblk"),
        [0, 0, 0, 4 | 5] => Some("sd"),
        [0, 0, 0, 6] => Some("nvme"),
        _ => None,
    }
}

/// Grows the mounted data file system to its partition; it is left alone when it fills that already.
///
/// # Errors
/// The kernel refuses: the file system stays as large as it was.
pub fn grow_data(device: &Path, place: &Path) -> io::Result<()> {
    let bytes = File::open(device)?.seek(SeekFrom::End(0))?;
    ioctl::resize_ext4(&File::open(place)?, bytes / EXT4_BLOCK_BYTES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::restore_fresh;

    #[test]
    fn a_fresh_file_system_is_written_with_its_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("partition");
        std::fs::write(&device, vec![0xa5; 5 * 4_096]).unwrap();
        let blocks = [&2_u32.to_le_bytes()[..], &[7; 4_096]].concat();
        restore_fresh(&device, 4 * 4_096, &blocks).unwrap();
        let expected = [vec![0; 2 * 4_096], vec![7; 4_096], vec![0; 4_096], vec![0xa5; 4_096]].concat();
        assert_eq!(std::fs::read(&device).unwrap(), expected);
        for wrong in [&blocks[1..], &[&9_u32.to_le_bytes()[..], &[7; 4_096]].concat()] {
            assert!(restore_fresh(&device, 4 * 4_096, wrong).is_err());
        }
        assert_eq!(std::fs::read(&device).unwrap(), expected);
    }
}

//! Partitions of a card: a master boot record (MBR) with four primary entries.
//!
//! | partition | what | file system |
//! | --- | --- | --- |
//! | 1 | boot: which slot to start, the owner's `node.toml` | FAT |
//! | 2, 3 | slots A and B: kernel, initramfs, command line | FAT |
//! | 4 | data: grows to the end of the card at the first boot | ext4 |

use super::Image;

/// Bytes of a sector.
pub const SECTOR_BYTES: u64 = 512;

/// Sectors per MiB.
const MIB: u64 = (1 << 20) / SECTOR_BYTES;

/// Disk signature of every card, so that the firmware knows its own: "OSMI".
pub const DISK_SIGNATURE: [u8; 4] = *b"OSMI";

/// Within the area for boot code, which no board has.
const GROWTH_AT: usize = 439;
const SIGNATURE_AT: usize = 440;
const TABLE_AT: usize = 446;
const ENTRY_BYTES: usize = 16;

/// FAT32, LBA.
const KIND_FAT: u8 = 0x0c;
/// Linux.
const KIND_LINUX: u8 = 0x83;

/// Where a partition lies, in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First sector.
    pub start: u64,
    /// How many.
    pub sectors: u64,
}

impl Extent {
    /// First sector behind it.
    pub fn end(self) -> u64 {
        self.start + self.sectors
    }
}

/// The four partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Partition 1.
    pub boot: Extent,
    /// Partitions 2 and 3.
    pub slots: [Extent; 2],
    /// Partition 4.
    pub data: Extent,
}

impl Layout {
    /// The layout of a fresh image: each partition begins at a full MiB.
    pub fn new(image: &Image) -> Self {
        let size = |mib: u32| u64::from(mib) * MIB;
        let boot = Extent { start: MIB, sectors: size(image.boot_mib) };
        let slot_a = Extent { start: boot.end(), sectors: size(image.slot_mib) };
        let slot_b = Extent { start: slot_a.end(), sectors: size(image.slot_mib) };
        let data = Extent { start: slot_b.end(), sectors: size(image.data_mib) };
        Self { boot, slots: [slot_a, slot_b], data }
    }

    /// Sectors of the image.
    pub fn sectors(&self) -> u64 {
        self.data.end()
    }

    /// The master boot record. Sizes are below 2 TiB, so every number fits.
    pub fn mbr(&self) -> [u8; 512] {
        let mut mbr = [0; 512];
        mbr[SIGNATURE_AT..SIGNATURE_AT + 4].copy_from_slice(&DISK_SIGNATURE);
        let entries = [
            (KIND_FAT, self.boot),
            (KIND_FAT, self.slots[0]),
            (KIND_FAT, self.slots[1]),
            (KIND_LINUX, self.data),
        ];
        for (index, (kind, extent)) in entries.into_iter().enumerate() {
            let at = TABLE_AT + index * ENTRY_BYTES;
            mbr[at..at + ENTRY_BYTES].copy_from_slice(&entry(kind, extent));
        }
        mbr[510..].copy_from_slice(&[0x55, 0xaa]);
        mbr
    }
}

/// The most sectors that a 32-bit entry can hold: 2 TiB.
const MAX_SECTORS: u64 = u32::MAX as u64;

fn entry(kind: u8, extent: Extent) -> [u8; ENTRY_BYTES] {
    let number = |value: u64| u32::try_from(value.min(MAX_SECTORS)).unwrap_or(u32::MAX).to_le_bytes();
    let mut entry = [0; ENTRY_BYTES];
    // Cylinder, head and sector mean nothing on cards: "see the 32-bit numbers".
    entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[4] = kind;
    entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&number(extent.start));
    entry[12..].copy_from_slice(&number(extent.sectors));
    entry
}

/// The partitions of a master boot record, if it is one of ours.
pub fn read_mbr(mbr: &[u8; 512]) -> Option<[Extent; 4]> {
    let ours = mbr[SIGNATURE_AT..SIGNATURE_AT + 4] == DISK_SIGNATURE && mbr[510..] == [0x55, 0xaa];
    ours.then(|| {
        [0, 1, 2, 3].map(|index: usize| {
            let at = TABLE_AT + index * ENTRY_BYTES;
            let number =
                |at: usize| u64::from(u32::from_le_bytes([mbr[at], mbr[at + 1], mbr[at + 2], mbr[at + 3]]));
            Extent { start: number(at + 8), sectors: number(at + 12) }
        })
    })
}

/// How far the growing of the data partition is. Nothing is stored on it before it is [`Growth::Done`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// As the image builder made it.
    Fresh,
    /// Begun: after a power cut the file system may be neither the old nor the new one.
    Begun,
    /// The partition may hold data.
    Done,
}

/// Reads the state of growing; a number that means nothing is taken for data.
pub fn growth(mbr: &[u8; 512]) -> Growth {
    match mbr[GROWTH_AT] {
        0 => Growth::Fresh,
        1 => Growth::Begun,
        _ => Growth::Done,
    }
}

/// The record with another state of growing.
#[must_use]
pub fn with_growth(mbr: &[u8; 512], growth: Growth) -> [u8; 512] {
    let mut changed = *mbr;
    changed[GROWTH_AT] = match growth {
        Growth::Fresh => 0,
        Growth::Begun => 1,
        Growth::Done => 2,
    };
    changed
}

/// The record with the data partition reaching to the end of a disk of `disk_sectors`, and that partition;
/// `None` when it does already, is not ours, or less than a MiB could be won.
pub fn grown(mbr: &[u8; 512], disk_sectors: u64) -> Option<([u8; 512], Extent)> {
    let data = read_mbr(mbr)?[3];
    let end = disk_sectors.min(data.start + MAX_SECTORS) / MIB * MIB;
    if end < data.end() + MIB {
        return None;
    }
    let extent = Extent { start: data.start, sectors: end - data.start };
    let mut grown = *mbr;
    let at = TABLE_AT + 3 * ENTRY_BYTES;
    grown[at..at + ENTRY_BYTES].copy_from_slice(&entry(KIND_LINUX, extent));
    Some((grown, extent))
}

#[cfg(test)]
mod tests {
    use super::{Growth, Layout, MIB, grown, growth, read_mbr, with_growth};
    use crate::board::Board;

    fn layout() -> Layout {
        Layout::new(&Board::all().unwrap()[0].image)
    }

    #[test]
    fn a_written_table_reads_back() {
        let layout = layout();
        let extents = read_mbr(&layout.mbr()).unwrap();
        assert_eq!(extents, [layout.boot, layout.slots[0], layout.slots[1], layout.data]);
        assert!(extents.windows(2).all(|pair| pair[0].end() == pair[1].start));
        assert_eq!(read_mbr(&[0; 512]), None);
    }

    #[test]
    fn the_state_of_growing_leaves_the_table_alone() {
        let fresh = layout().mbr();
        assert_eq!(growth(&fresh), Growth::Fresh);
        for state in [Growth::Fresh, Growth::Begun, Growth::Done] {
            let changed = with_growth(&fresh, state);
            assert_eq!((growth(&changed), read_mbr(&changed)), (state, read_mbr(&fresh)));
        }
        let mut strange = fresh;
        strange[super::GROWTH_AT] = 77;
        assert_eq!(growth(&strange), Growth::Done);
    }

    #[test]
    fn the_data_partition_grows_once() {
        let layout = layout();
        let disk = layout.sectors() * 4 + 77;
        let (mbr, extent) = grown(&layout.mbr(), disk).unwrap();
        assert_eq!(read_mbr(&mbr).unwrap()[3], extent);
        assert!(extent.end() <= disk && extent.end() + MIB > disk);
        assert_eq!(grown(&mbr, disk), None);
        assert_eq!(grown(&layout.mbr(), layout.sectors()), None);
        let (_, huge) = grown(&layout.mbr(), u64::MAX / 2).unwrap();
        assert!(huge.sectors <= u64::from(u32::MAX));
    }
}

//! What a board's boot ROM does, for the emulator, which has none: read `autoboot.txt` on partition 1 and
//! `config.txt` in the slot it names, load kernel, initramfs and command line from that slot.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, bail};
use osmia::board::layout::{Extent, SECTOR_BYTES, read_mbr};
use osmia::boot::slot::{Slot, read_autoboot};

use crate::fat;

/// What the ROM would start.
pub(crate) struct Started {
    pub(crate) slot: Slot,
    pub(crate) kernel: Vec<u8>,
    pub(crate) initrd: Vec<u8>,
    pub(crate) cmdline: String,
}

/// Reads a card.
pub(crate) fn start(card: &Path) -> anyhow::Result<Started> {
    let mut disk = File::open(card).with_context(|| card.display().to_string())?;
    let mut mbr = [0; 512];
    disk.read_exact(&mut mbr)?;
    let partitions = read_mbr(&mbr).with_context(|| format!("{} is no Osmia card", card.display()))?;
    let autoboot = fat::read(&partition(&mut disk, partitions[0])?, "autoboot.txt")?;
    let slot =
        read_autoboot(&String::from_utf8_lossy(&autoboot), false).context("autoboot.txt names no slot")?;
    let content = partition(&mut disk, partitions[slot.partition() as usize - 1])?;
    let config = String::from_utf8(fat::read(&content, "config.txt")?)?;
    let named = |key: &str| {
        let line = config.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    let (Some(kernel), Some(initrd)) = (named("kernel="), named("initramfs ")) else {
        bail!("config.txt names no kernel or no initramfs");
    };
    Ok(Started {
        slot,
        kernel: fat::read(&content, &kernel)?,
        initrd: fat::read(&content, &initrd)?,
        cmdline: String::from_utf8(fat::read(&content, "cmdline.txt")?)?.trim().to_owned(),
    })
}

fn partition(disk: &mut File, extent: Extent) -> anyhow::Result<Vec<u8>> {
    disk.seek(SeekFrom::Start(extent.start * SECTOR_BYTES))?;
    let mut content = vec![0; usize::try_from(extent.sectors * SECTOR_BYTES)?];
    disk.read_exact(&mut content)?;
    Ok(content)
}

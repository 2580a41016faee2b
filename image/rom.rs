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
    /// `None` for a machine that brings its own.
    pub(crate) device_tree: Option<Vec<u8>>,
}

/// Reads a card as the machine with this section of `config.txt` and this device tree does.
pub(crate) fn start(card: &Path, section: &str, device_tree: Option<&str>) -> anyhow::Result<Started> {
    let mut disk = File::open(card).with_context(|| card.display().to_string())?;
    let mut mbr = [0; 512];
    disk.read_exact(&mut mbr)?;
    let partitions = read_mbr(&mbr).with_context(|| format!("{} is no Osmia card", card.display()))?;
    // A damaged autoboot.txt is as good as none: the firmware then takes the first partition that it can start.
    let boot = partition(&mut disk, partitions[0])?;
    let autoboot = fat::read(&boot, "autoboot.txt").unwrap_or_default();
    let slot = read_autoboot(&String::from_utf8_lossy(&autoboot), false).unwrap_or(Slot::A);
    let content = partition(&mut disk, partitions[slot.partition() as usize - 1])?;
    let config = String::from_utf8(fat::read(&content, "config.txt")?)?;
    let lines = applying(&config, section);
    let named = |key: &str| {
        let line = lines.iter().rev().find_map(|line| line.strip_prefix(key))?;
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
        device_tree: device_tree.map(|name| fat::read(&content, name)).transpose()?,
    })
}

/// The lines of `config.txt` that apply: those of `[all]` and of the machine's own section (Raspberry Pi
/// documentation, conditional filters).
fn applying<'a>(config: &'a str, section: &str) -> Vec<&'a str> {
    let mut applies = true;
    let mut lines = Vec::new();
    for line in config.lines().map(str::trim) {
        match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(filter) => applies = filter == "all" || filter == section,
            None if applies && !line.starts_with('#') && !line.is_empty() => lines.push(line),
            None => {}
        }
    }
    lines
}

fn partition(disk: &mut File, extent: Extent) -> anyhow::Result<Vec<u8>> {
    disk.seek(SeekFrom::Start(extent.start * SECTOR_BYTES))?;
    let mut content = vec![0; usize::try_from(extent.sectors * SECTOR_BYTES)?];
    disk.read_exact(&mut content)?;
    Ok(content)
}

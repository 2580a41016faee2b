//! The card: partition table, boot partition, two slots, data.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use osmia::board::layout::{Extent, Layout, SECTOR_BYTES};
use osmia::boot::slot::{Slot, autoboot_text};

use crate::kernel::Kernel;
use crate::plan::Plan;
use crate::{fat, host, progress};

/// Name of the kernel in a slot, as the Raspberry Pi's boot ROM calls it.
pub(crate) const KERNEL: &str = "kernel8.img";
/// Name of the initramfs in a slot.
pub(crate) const INITRD: &str = "initrd";

/// Written sparsely: runs of zeros of this size are skipped.
const CHUNK: usize = 1 << 16;

/// Writes the image, replacing what is there.
pub(crate) fn write(plan: &Plan, kernel: &Kernel, initrd: &[u8], out: &Path) -> anyhow::Result<()> {
    let layout = Layout::new(&plan.board.image);
    let kernel = progress::step("compressing the kernel", || gzip(&kernel.image))?;
    progress::step("writing the image", || {
        let partial = out.with_extension("partial");
        let mut disk =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&partial)?;
        disk.set_len(layout.sectors() * SECTOR_BYTES)?;
        disk.write_all(&layout.mbr())?;
        let boot = [
            ("autoboot.txt", autoboot_text(Slot::A).into_bytes()),
            ("node.toml", plan.config.clone().into_bytes()),
        ];
        put(&mut disk, layout.boot, &fat(layout.boot, "OSMIA", &boot)?)?;
        let slot = [
            ("config.txt", config_text().into_bytes()),
            ("cmdline.txt", format!("{}\n", plan.board.image.cmdline).into_bytes()),
            (KERNEL, kernel),
            (INITRD, initrd.to_vec()),
        ];
        put(&mut disk, layout.slots[0], &fat(layout.slots[0], "SLOT-A", &slot)?)?;
        // The first update fills it.
        put(&mut disk, layout.slots[1], &fat(layout.slots[1], "SLOT-B", &[])?)?;
        drop(disk);
        make_data(&partial, layout.data)?;
        std::fs::rename(&partial, out).context("renaming")
    })?;
    progress::say(&format!("image: {}", out.display()));
    Ok(())
}

/// What the boot ROM reads in a slot.
fn config_text() -> String {
    format!("arm_64bit=1\nkernel={KERNEL}\ninitramfs {INITRD} followkernel\n")
}

fn fat(extent: Extent, label: &str, files: &[(&str, Vec<u8>)]) -> anyhow::Result<Vec<u8>> {
    let files = files.iter().map(|(name, content)| (*name, content.as_slice())).collect::<Vec<_>>();
    fat::format(extent.sectors * SECTOR_BYTES, label, &files).with_context(|| label.to_owned())
}

fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn put(disk: &mut File, extent: Extent, content: &[u8]) -> anyhow::Result<()> {
    let start = extent.start * SECTOR_BYTES;
    for (index, chunk) in (0..).zip(content.chunks(CHUNK)) {
        if chunk.iter().any(|byte| *byte != 0) {
            disk.seek(SeekFrom::Start(start + index * CHUNK as u64))?;
            disk.write_all(chunk)?;
        }
    }
    Ok(())
}

/// Makes the data file system in a file of its own: mkfs knows the block size and number of inodes that
/// let it grow a thousandfold, and everything random or timed in it is fixed.
fn make_data(disk: &Path, extent: Extent) -> anyhow::Result<()> {
    let file = disk.with_extension("data");
    File::create(&file)?.set_len(extent.sectors * SECTOR_BYTES)?;
    let mut command = Command::new(host::find("mkfs.ext4").context("mkfs.ext4 is missing")?);
    command
        .args(["-q", "-F", "-b", "4096", "-i", "65536", "-m", "1", "-L", "osmia-data"])
        .args(["-U", "6f736d69-6100-4000-8000-646174610000"])
        .args(["-E", "hash_seed=6f736d69-6100-4000-8000-686173680000,root_owner=0:0"])
        .arg(&file)
        .env("E2FSPROGS_FAKE_TIME", "1764000000")
        .env("SOURCE_DATE_EPOCH", "1764000000");
    host::run_quietly(&mut command)?;
    let content = std::fs::read(&file)?;
    std::fs::remove_file(&file)?;
    put(&mut OpenOptions::new().write(true).open(disk)?, extent, &content)
}

/// Writes `….img.xz` beside the image.
pub(crate) fn compress(image: &Path) -> anyhow::Result<()> {
    let packed = image.with_extension("img.xz");
    progress::step("compressing the image", || {
        let partial = image.with_extension("xz.partial");
        let options = lzma_rust2::XzOptions::with_preset(6);
        let mut writer = lzma_rust2::XzWriter::new(File::create(&partial)?, options)?;
        std::io::copy(&mut BufReader::new(File::open(image)?), &mut writer)?;
        writer.finish()?.sync_all()?;
        std::fs::rename(&partial, &packed).context("renaming")
    })?;
    let bytes = std::fs::metadata(&packed)?.len();
    if bytes == 0 {
        bail!("{} is empty", packed.display());
    }
    progress::say(&format!(
        "compressed: {} ({:.1} MiB)",
        packed.display(),
        bytes as f64 / f64::from(1 << 20)
    ));
    Ok(())
}

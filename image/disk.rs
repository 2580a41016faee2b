//! The card: partition table, boot partition, two slots, data.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use osmia::board::layout::{Extent, Layout, SECTOR_BYTES};
use osmia::boot::slot::{Slot, autoboot_text};

use crate::kernel::Kernel;
use crate::plan::Plan;
use crate::{dtb, fat, host, progress};

/// Name of the kernel in a slot, as the Raspberry Pi's boot ROM calls it.
pub(crate) const KERNEL: &str = "kernel8.img";
/// Name of the initramfs in a slot.
pub(crate) const INITRD: &str = "initrd";

/// Written sparsely: runs of zeros of this size are skipped.
const CHUNK: usize = 1 << 16;

/// Writes the image, replacing what is there.
pub(crate) fn write(
    plan: &Plan,
    kernel: &Kernel,
    initrd: &[u8],
    data: &[u8],
    out: &Path,
) -> anyhow::Result<()> {
    let layout = Layout::new(plan.image());
    progress::step("writing the image", || {
        let partial = out.with_extension("partial");
        let mut disk =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&partial)?;
        disk.set_len(layout.sectors() * SECTOR_BYTES)?;
        disk.write_all(&layout.mbr())?;
        let mut boot = vec![
            ("autoboot.txt".to_owned(), autoboot_text(Slot::A).into_bytes()),
            ("node.toml".to_owned(), plan.config.clone().into_bytes()),
            // Overwritten in place at each start, so that the file system is never at risk.
            (
                "SETUP-RESULT.txt".to_owned(),
                osmia::init::setup_result("This card has not been started yet.\r\n"),
            ),
        ];
        boot.extend(named(&kernel.files, plan.boot_files())?);
        put(&mut disk, layout.boot, &fat(layout.boot, "OSMIA", &boot)?)?;
        put(&mut disk, layout.slots[0], &fat(layout.slots[0], "SLOT-A", &slot(plan, kernel, initrd)?)?)?;
        // The first update fills it.
        put(&mut disk, layout.slots[1], &fat(layout.slots[1], "SLOT-B", &[])?)?;
        put(&mut disk, layout.data, data)?;
        std::fs::rename(&partial, out).context("renaming")
    })?;
    progress::say(&format!("image: {}", out.display()));
    Ok(())
}

type Files = Vec<(String, Vec<u8>)>;

/// Everything that a board starts from.
fn slot(plan: &Plan, kernel: &Kernel, initrd: &[u8]) -> anyhow::Result<Files> {
    let packed = progress::step("compressing the kernel", || gzip(&kernel.image))?;
    let mut slot = vec![
        ("config.txt".to_owned(), plan.config_text().into_bytes()),
        ("cmdline.txt".to_owned(), format!("{}\n", plan.image().cmdline).into_bytes()),
        (KERNEL.to_owned(), packed),
        (INITRD.to_owned(), initrd.to_vec()),
    ];
    slot.extend(named(&kernel.files, plan.slot_files())?);
    for board in &plan.boards {
        for (name, tree) in named(&kernel.files, board.image.device_trees.clone())? {
            let tree = dtb::edited(&tree, &board.image).with_context(|| name.clone())?;
            slot.push((name, tree));
        }
        if let Some(overlay) = &board.image.overlay {
            let both = named(&kernel.files, vec![overlay.from.clone(), overlay.to.clone()])?;
            let difference = dtb::difference(overlay, &both[0].1, &both[1].1)?;
            slot.push((format!("overlays/{}", overlay.name), difference));
        }
    }
    slot.push(("LICENCE.osmia.txt".to_owned(), include_bytes!("../LICENSE").to_vec()));
    slot.push(("SOURCES.txt".to_owned(), sources(plan).into_bytes()));
    slot.extend(kernel.files.iter().filter(|(name, _)| name.starts_with("LICENCE.")).map(owned));
    Ok(slot)
}

/// Where the sources of what others made are to be had.
fn sources(plan: &Plan) -> String {
    let mut text = "What is on this card besides Osmia comes from these packages of Debian, whose sources are at\r\n\
         https://snapshot.debian.org/. The files start*.elf, fixup*.dat and bootcode.bin may be used with a\r\n\
         Raspberry Pi only (LICENCE.raspi-firmware.txt).\r\n\r\n"
        .to_owned();
    for package in plan.packages() {
        text.push_str(&format!("{} {}\r\n", package.sha256, package.path));
    }
    text
}

fn owned((name, content): (&String, &Vec<u8>)) -> (String, Vec<u8>) {
    (name.clone(), content.clone())
}

fn named(files: &BTreeMap<String, Vec<u8>>, names: Vec<String>) -> anyhow::Result<Files> {
    let find = |name: String| {
        let content = files.get(&name).with_context(|| format!("no package has {name}"))?.clone();
        Ok((name, content))
    };
    names.into_iter().map(find).collect()
}

fn fat(extent: Extent, label: &str, files: &[(String, Vec<u8>)]) -> anyhow::Result<Vec<u8>> {
    let files = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect::<Vec<_>>();
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

/// Makes the data file system: mkfs knows the block size and number of inodes that let it grow a thousandfold, and
/// everything random or timed in it is fixed.
pub(crate) fn make_data(plan: &Plan, out: &Path) -> anyhow::Result<Vec<u8>> {
    let file = out.with_extension("data");
    File::create(&file)?.set_len(Layout::new(plan.image()).data.sectors * SECTOR_BYTES)?;
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
    Ok(content)
}

/// The blocks of a file system that are not zero, as `osmia::firmware::disk::restore_fresh` reads them.
pub(crate) fn blocks(file_system: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    for (number, block) in (0_u32..).zip(file_system.chunks(4_096)) {
        if block.iter().any(|byte| *byte != 0) {
            list.extend_from_slice(&number.to_le_bytes());
            list.extend_from_slice(block);
        }
    }
    list
}

/// Writes `….img.xz` beside the image and gives its path.
pub(crate) fn compress(image: &Path) -> anyhow::Result<PathBuf> {
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
    Ok(packed)
}

//! The image for all Raspberry Pis, looked at from outside: files, sizes, conditions, device trees.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use dtoolkit::fdt::Fdt;
use dtoolkit::model::DeviceTree;
use dtoolkit::model::overlay::OverlayApplier;
use dtoolkit::{Node, Property};
use osmia::board::Board;
use osmia::board::layout::Extent;

use crate::card::Card;
use crate::host;

type Files = BTreeMap<String, Vec<u8>>;

/// Fails with what is wrong.
pub(crate) fn check(image: &Path) {
    let card = Card::of(image);
    let [boot, slot, spare, _] = card.partitions();
    let (boot, slot, spare) = (files(&card, boot), files(&card, slot), files(&card, spare));
    sizes(image);
    boot_partition(&boot);
    assert!(spare.is_empty(), "the second slot is not empty");
    for extent in &card.partitions()[..3] {
        let partition = host::folder().join("partition.fat");
        fs::write(&partition, card.read(*extent)).unwrap();
        host::run(std::process::Command::new("/usr/sbin/fsck.vfat").arg("-n").arg(&partition));
        fs::remove_file(partition).unwrap();
    }
    slot_partition(&slot);
    for board in Board::card("rpi").unwrap() {
        config(&board, &text(&slot, "config.txt"));
        device_trees(&board, &slot);
    }
    overlay(&slot);
    block_map(image);
    root(&slot["initrd"]);
    published(image);
}

fn files(card: &Card, extent: Extent) -> Files {
    let content = Cursor::new(card.read(extent));
    let file_system = fatfs::FileSystem::new(content, fatfs::FsOptions::new()).unwrap();
    // Some boot ROMs read nothing else.
    assert_eq!(file_system.fat_type(), fatfs::FatType::Fat32);
    let mut files = Files::new();
    let mut queue = vec![(String::new(), file_system.root_dir())];
    while let Some((path, folder)) = queue.pop() {
        for entry in folder.iter().map(Result::unwrap) {
            let name = entry.file_name();
            if entry.is_dir() && !name.starts_with('.') {
                queue.push((format!("{path}{name}/"), entry.to_dir()));
            } else if entry.is_file() {
                let mut content = Vec::new();
                entry.to_file().read_to_end(&mut content).unwrap();
                files.insert(format!("{path}{name}"), content);
            }
        }
    }
    files
}

fn text(files: &Files, name: &str) -> String {
    String::from_utf8(files[name].clone()).unwrap()
}

fn sizes(image: &Path) {
    let mib = |path: &Path| fs::metadata(path).unwrap().len() as f64 / f64::from(1 << 20);
    let (raw, packed) = (mib(image), mib(&image.with_extension("img.xz")));
    println!("image for all Raspberry Pis: {raw:.0} MiB, {packed:.1} MiB compressed");
    assert!(raw <= 512.0 && packed * f64::from(1 << 20) <= 64e6);
}

/// With firmware on it, a damaged autoboot.txt would start from here instead of from a slot.
fn boot_partition(boot: &Files) {
    let names = boot.keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(names, ["SETUP-RESULT.txt", "autoboot.txt", "bootcode.bin", "node.toml"]);
    assert!(boot["autoboot.txt"].len() <= 512);
    assert_eq!(boot["SETUP-RESULT.txt"].len(), 2_048);
}

fn slot_partition(slot: &Files) {
    assert_eq!(&slot["kernel8.img"][..2], [0x1f, 0x8b], "the kernel is not compressed by gzip");
    assert_eq!(&slot["initrd"][..4], [0x28, 0xb5, 0x2f, 0xfd], "the initramfs is not compressed by zstd");
    for (name, least) in
        [("start.elf", 2_000_000), ("start4.elf", 2_000_000), ("fixup.dat", 1_000), ("fixup4.dat", 1_000)]
    {
        assert!(slot[name].len() > least, "{name}");
    }
    for licence in ["LICENCE.linux-base.txt", "LICENCE.raspi-firmware.txt", "LICENCE.osmia.txt"] {
        assert!(text(slot, licence).contains("Copyright"), "{licence}");
    }
    let total: usize = slot.values().map(Vec::len).sum();
    assert!(total < 100 << 20, "no room in the slot");
}

/// What applies to a board.
fn config(board: &Board, text: &str) {
    let section = board.image.section.as_ref().unwrap();
    let mut applies = true;
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.strip_prefix('[') {
            Some(filter) => applies = ["all]".to_owned(), format!("{section}]")].contains(&filter.to_owned()),
            None if applies => lines.push(line),
            None => {}
        }
    }
    for needed in
        ["arm_64bit=1", "kernel=kernel8.img", "initramfs initrd followkernel", "kernel_watchdog_timeout=60"]
    {
        assert!(lines.contains(&needed), "{}: {needed}", board.name);
    }
    // The Pi 5 has its firmware, and the names of its trees, on the board.
    let on_the_card = board.name != "rpi5";
    assert_eq!(lines.contains(&"upstream_kernel=1"), on_the_card, "{}", board.name);
}

fn tree(slot: &Files, name: &str) -> DeviceTree {
    DeviceTree::from_fdt(&Fdt::new(&slot[name]).unwrap())
}

/// A board finds its own file by each of its trees; the watchdog is marked for the firmware.
fn device_trees(board: &Board, slot: &Files) {
    assert!(!board.image.device_trees.is_empty());
    for name in &board.image.device_trees {
        let mut tree = tree(slot, name);
        let compatible = tree.root.property("compatible").unwrap().value().to_vec();
        let compatible = String::from_utf8(compatible).unwrap();
        let names = compatible.split('\0').filter(|name| !name.is_empty()).collect::<Vec<_>>();
        assert_eq!(Board::detect(&names).unwrap().unwrap().name, board.name, "{name}");
        let path = board.image.watchdog_node.as_ref().unwrap();
        assert!(tree.find_node_mut(path).unwrap().property("early-watchdog").is_some(), "{name}");
        let alias = tree.find_node_mut("/aliases").unwrap().property("watchdog").unwrap().value().to_vec();
        assert_eq!(alias, format!("{path}\0").into_bytes(), "{name}");
    }
    if let Some(path) = &board.image.usb_host_node {
        let mut tree = tree(slot, &board.image.device_trees[0]);
        assert_eq!(tree.find_node_mut(path).unwrap().property("dr_mode").unwrap().value(), b"host\0");
    }
}

/// The whole root file system: nothing that could be run but the one program, no right to be won, no secret.
fn root(initrd: &[u8]) {
    let archive = zstd::bulk::decompress(initrd, 64 << 20).unwrap();
    let mut at = 0;
    let mut others = Vec::new();
    loop {
        let number = |field: usize| {
            let from = at + 6 + 8 * field;
            usize::from_str_radix(std::str::from_utf8(&archive[from..from + 8]).unwrap(), 16).unwrap()
        };
        assert_eq!(&archive[at..at + 6], b"070701");
        let (mode, uid, gid, size, length) = (number(1), number(2), number(3), number(6), number(11));
        let name = std::str::from_utf8(&archive[at + 110..at + 110 + length - 1]).unwrap().to_owned();
        if name == "TRAILER!!!" {
            break;
        }
        let content = (at + 110 + length).next_multiple_of(4);
        at = (content + size).next_multiple_of(4);
        let content = &archive[content..content + size];
        let open = if name == "dev/null" { 0o7000 } else { 0o7022 };
        assert_eq!((uid, gid, mode & open), (0, 0, 0), "{name}: rights or owner: {mode:o}");
        let is_module = name.starts_with("lib/modules/") && name.ends_with(".ko");
        match mode & 0o170_000 {
            0o040_000 => {}
            0o100_000 if is_module => {
                assert_eq!((&content[..4], mode & 0o111), (&b"\x7fELF"[..], 0), "{name}")
            }
            0o100_000 => others.push((name, mode & 0o777)),
            _ => others.push((name, mode & 0o777)),
        }
    }
    let allowed = [
        ("dev/console", 0o600),
        ("dev/null", 0o666),
        ("etc/built", 0o444),
        ("init", 0o555),
        ("lib/data.blocks", 0o444),
        ("lib/modules/index", 0o444),
    ];
    assert_eq!(others, allowed.map(|(name, mode)| (name.to_owned(), mode)));
}

/// Laid over the tree of the Pi 5's first stepping, it gives that of the second.
fn overlay(slot: &Files) {
    let mut first = tree(slot, "bcm2712-rpi-5-b.dtb");
    let overlay = &slot["overlays/bcm2712d0.dtbo"];
    OverlayApplier::new(&mut first).apply_overlay(&Fdt::new(overlay).unwrap()).unwrap();
    assert_eq!(first.root, tree(slot, "bcm2712-d-rpi-5-b.dtb").root);
}

/// Written by its block map onto a card that is not blank, the image is still what it is: every file, and a data
/// partition without a mistake.
fn block_map(image: &Path) {
    let bytes = fs::read(image).unwrap();
    let mut written = vec![0xa5; bytes.len()];
    let map = fs::read_to_string(image.with_extension("img.bmap")).unwrap();
    for range in map.lines().filter_map(|line| line.split_once("\"> ")?.1.strip_suffix(" </Range>")) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let part = first * 4_096..((last + 1) * 4_096).min(bytes.len());
        written[part.clone()].copy_from_slice(&bytes[part]);
    }
    let path = host::folder().join("by-map.img");
    fs::write(&path, written).unwrap();
    let (by_map, whole) = (Card::of(&path), Card::of(image));
    assert_eq!(by_map.partitions(), whole.partitions());
    for extent in &whole.partitions()[..3] {
        assert_eq!(files(&by_map, *extent), files(&whole, *extent));
    }
    by_map.check_data_is_clean();
    fs::remove_file(path).unwrap();
}

/// Checksums are those of the files; the Imager's entry has what its schema requires.
fn published(image: &Path) {
    let folder = image.parent().unwrap();
    let sums = fs::read_to_string(image.with_extension("img.SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 4, "{sums}");
    let file = folder.join(image.with_extension("img.SHA256SUMS").file_name().unwrap());
    host::run(std::process::Command::new("sha256sum").arg("-c").arg(file).current_dir(folder));
    let list = fs::read(image.with_extension("img.json")).unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let entry = &list["os_list"][0];
    for (field, is_text) in [
        ("name", true),
        ("description", true),
        ("icon", true),
        ("url", true),
        ("extract_size", false),
        ("extract_sha256", true),
        ("image_download_size", false),
        ("release_date", true),
    ] {
        assert_eq!(
            (entry[field].is_string(), entry[field].is_u64()),
            (is_text, !is_text),
            "{field}: {entry}"
        );
    }
    assert_eq!(entry["devices"].to_string(), "[\"pi3-64bit\",\"pi4-64bit\",\"pi5-64bit\"]");
    assert_eq!(entry["extract_size"].as_u64().unwrap(), fs::metadata(image).unwrap().len());
    assert!(
        sums.contains(&format!("{}  osmia-rpi--compress.img\n", entry["extract_sha256"].as_str().unwrap()))
    );
}

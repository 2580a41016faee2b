//! Every board file fits the others and the firmware.

use std::collections::BTreeSet;
use std::path::Path;

use osmia::board::Board;
use osmia::board::layout::Layout;

#[test]
fn every_file_is_a_board() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let files = files.map(|name| name.to_string_lossy().trim_end_matches(".toml").to_owned());
    let names = Board::all().unwrap().into_iter().map(|board| board.name);
    assert_eq!(files.collect::<BTreeSet<_>>(), names.collect::<BTreeSet<_>>());
}

#[test]
fn boards_are_told_apart_by_their_device_tree() {
    let mut seen = BTreeSet::new();
    for board in Board::all().unwrap() {
        for name in &board.run.compatible {
            assert!(seen.insert(name.clone()), "{name} stands for two boards");
            let found = Board::detect(&["unknown,thing", name, "generic"]).unwrap().unwrap();
            assert_eq!(found.name, board.name);
        }
    }
    assert_eq!(Board::detect(&["unknown,thing"]).unwrap(), None);
}

#[test]
fn values_are_within_what_hardware_can_do() {
    for board in Board::all().unwrap() {
        // bcm2835_wdt counts 20 bits of 1/65536 s: just under 16 s.
        assert!((1..=15).contains(&board.run.watchdog_s), "{}", board.name);
        let layout = Layout::new(&board.image);
        assert_eq!(layout.slots[0].sectors, layout.slots[1].sectors, "{}", board.name);
        // Kernel, initramfs and device trees take some 30 MiB.
        assert!(board.image.slot_mib >= 64, "{}", board.name);
        for package in &board.image.packages {
            assert_eq!(package.sha256.len(), 64, "{}", package.path);
            let free =
                ["pool/main/", "pool/non-free-firmware/"].iter().any(|pool| package.path.starts_with(pool));
            assert!(free && package.path.ends_with(".deb"), "{}", package.path);
        }
    }
}

#[test]
fn families_and_their_members() {
    let names =
        |card: &str| Board::card(card).unwrap().into_iter().map(|board| board.name).collect::<Vec<_>>();
    assert_eq!(names("rpi"), ["rpi3", "rpi4", "rpi5", "zero2w"]);
    assert_eq!(names("rpi4"), ["rpi4"]);
    assert_eq!(names("rpi6"), Vec::<String>::new());
    let mut sections = BTreeSet::new();
    for board in Board::card("rpi").unwrap() {
        // What stands in the family's file holds for each, its own lists come on top.
        assert_eq!(board.run.led.as_deref(), Some("ACT"));
        assert_eq!(board.image.early[0], "bcm2835_wdt", "{}: the watchdog comes first", board.name);
        assert!(board.image.early.len() + board.image.coldplug.len() > 25, "{}", board.name);
        assert!(sections.insert(board.image.section.clone()), "two boards with one section");
        assert!(!board.run.compatible.is_empty() && !board.image.needed.is_empty(), "{}", board.name);
        // One card cannot have two layouts or command lines.
        let family = &Board::card("rpi").unwrap()[0].image;
        assert_eq!(Layout::new(&board.image), Layout::new(family));
        assert_eq!(board.image.cmdline, family.cmdline);
    }
}

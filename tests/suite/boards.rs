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
            assert!(package.path.starts_with("pool/main/") && package.path.ends_with(".deb"));
        }
    }
}

//! The README is true where a test can tell.

use std::path::Path;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// Its table of ports is what the boot test scans for.
#[test]
fn the_table_of_ports_is_the_scanned_one() {
    let boot = include_str!("../boot/main.rs");
    let readme = readme();
    assert!(boot.contains("open: vec![80, 14_265, 15_600]"), "the boot test expects other ports");
    let rows = readme.lines().filter(|line| line.starts_with("| TCP ")).collect::<Vec<_>>();
    let ports = rows.iter().map(|row| row.split(' ').nth(2).unwrap()).collect::<Vec<_>>();
    assert_eq!(ports, ["80", "14265", "15600"]);
}

/// Every key that the file on the card shows is explained.
#[test]
fn every_key_of_the_configuration_is_explained() {
    let readme = readme();
    let mut table = "";
    for line in include_str!("../../image/node.toml").lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" =") {
            assert!(readme.contains(&format!("`{table}.{key}`")), "{table}.{key} is not in the README");
        }
    }
}

/// The map names every folder of the sources.
#[test]
fn the_map_names_every_folder() {
    let readme = readme();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "tests"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_dir() {
                let name = format!("`{folder}/{}`", entry.file_name().to_string_lossy());
                assert!(readme.contains(&name), "{name} is not on the map");
            }
        }
    }
}

#[test]
fn it_is_short_enough_to_read() {
    assert!(readme().lines().count() <= 250);
}

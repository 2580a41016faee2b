//! The sources as text: layers point downwards, files stay small, unsafe code stays where it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Layer of each top-level module. A module uses lower layers, its own folder, and nothing else.
const LAYERS: [(&str, u32); 38] = [
    // L0: words, pure
    ("board", 0),
    ("config", 0),
    ("fault", 0),
    ("planted", 0),
    ("pow", 0),
    ("protocol", 0),
    ("token", 0),
    // L1: rules, pure
    ("autopeering", 1),
    ("boot", 1),
    ("dhcp", 1),
    ("gossip", 1),
    ("ledger", 1),
    ("snapshot", 1),
    ("sntp", 1),
    ("tangle", 1),
    // L2: the engine, sans-IO
    ("engine", 2),
    // L3: store and what ports hold
    ("files", 3),
    ("handle", 3),
    ("identity", 3),
    ("keeper", 3),
    ("logging", 3),
    ("mining", 3),
    ("store", 3),
    // L4: ports and hands
    ("confine", 4),
    ("coordinator", 4),
    ("firmware", 4),
    ("hardware", 4),
    ("net", 4),
    ("rescue", 4),
    ("rest", 4),
    ("timekeeper", 4),
    // L5: processes
    ("attack", 5),
    ("init", 5),
    ("node", 5),
    ("tools", 5),
    // on top
    ("cli", 6),
    ("main", 7),
    ("lib", 7),
];

/// Modules of one layer that may use another of the same layer.
const NEIGHBOURS: [(&str, &str); 15] = [
    ("config", "protocol"),
    ("config", "pow"),
    ("config", "token"),
    ("pow", "protocol"),
    ("board", "protocol"),
    ("board", "pow"),
    ("handle", "store"),
    ("identity", "files"),
    ("keeper", "files"),
    ("keeper", "handle"),
    ("keeper", "store"),
    ("mining", "files"),
    ("snapshot", "ledger"),
    ("init", "attack"),
    ("store", "files"),
];

/// Files that may hold unsafe code.
const UNSAFE: [&str; 4] =
    ["src/firmware/ioctl.rs", "src/pow/kernel/neon.rs", "src/pow/kernel/rounds.rs", "src/pow/kernel/x86.rs"];

/// Longest file, in lines.
const MAX_LINES: usize = 800;

/// What stands at the top of the repository, besides files that begin with a dot.
const TOP: [&str; 8] =
    ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "boards", "image", "src", "tests"];

/// Every TIP that Stardust is made of.
const TIPS: [u32; 24] =
    [2, 3, 4, 5, 8, 11, 12, 14, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 31, 32, 34, 35, 13];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Path from the root, and content, of every Rust file below the folders.
fn sources(folders: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut queue = folders.iter().map(|folder| root().join(folder)).collect::<Vec<PathBuf>>();
    while let Some(folder) = queue.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(found.len() > 10, "no sources found");
    found
}

/// Top-level module that a file below `src` belongs to.
fn module(file: &str) -> &str {
    let inside = file.strip_prefix("src/").unwrap();
    inside.split('/').next().unwrap().trim_end_matches(".rs")
}

fn layer(module: &str) -> u32 {
    let known = LAYERS.iter().find(|(name, _)| *name == module);
    known.unwrap_or_else(|| panic!("module {module} has no layer")).1
}

/// Every module behind a `crate::`, also of those in `crate::{…}`.
fn used_modules(text: &str) -> Vec<&str> {
    let name = |text: &'_ str| text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let mut used = Vec::new();
    for behind in text.split("crate::").skip(1) {
        let Some(group) = behind.strip_prefix('{') else {
            used.push(&behind[..name(behind).unwrap_or(behind.len())]);
            continue;
        };
        let (mut depth, mut at_name) = (0, true);
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_name = true,
                _ if at_name && letter.is_alphabetic() => {
                    let word = &group[at..];
                    used.push(&word[..name(word).unwrap_or(word.len())]);
                    at_name = false;
                }
                _ => {}
            }
        }
    }
    used
}

#[test]
fn grouped_imports_are_seen() {
    let text = "use crate::{store::{Store, Reader}, protocol::id}; crate::engine::X";
    assert_eq!(used_modules(text), ["store", "protocol", "engine"]);
}

#[test]
fn layers_point_downwards() {
    let mut wrong = Vec::new();
    for (file, text) in sources(&["src"]) {
        let own = module(&file);
        assert!(!text.contains("super::super"), "{file} reaches over its folder: write crate::");
        for used in used_modules(&text) {
            let neighbour = NEIGHBOURS.contains(&(own, used));
            if used != own && layer(used) >= layer(own) && !neighbour {
                wrong.push(format!("{file} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_layers_are_marked() {
    for (name, layer) in LAYERS {
        let folder = root().join("src").join(name);
        let file = if folder.is_dir() { folder.join("mod.rs") } else { folder.with_extension("rs") };
        if layer <= 2 {
            let text = fs::read_to_string(&file).unwrap();
            assert!(
                text.contains("#![deny(clippy::disallowed_methods, clippy::disallowed_types)]"),
                "{name}"
            );
        }
    }
    for (file, text) in sources(&["src"]) {
        if layer(module(&file)) <= 2 {
            assert!(!text.contains("async fn") && !text.contains("std::thread"), "{file} is not pure");
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    for (file, text) in sources(&["src", "image", "tests"]) {
        let test_module = file.ends_with("/tests.rs");
        assert!(test_module || text.starts_with("//!"), "{file} has no //! line");
        assert!(text.lines().count() <= MAX_LINES, "{file} has more than {MAX_LINES} lines");
    }
}

#[test]
fn unsafe_code_stays_where_it_is() {
    for (file, text) in sources(&["src", "image"]) {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found = code.clone().any(|line| {
            line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == "unsafe")
        });
        assert_eq!(found, UNSAFE.contains(&file.as_str()), "{file}");
        if found {
            let blocks = text.matches("unsafe {").count();
            assert_eq!(text.matches("// SAFETY:").count(), blocks, "{file}");
            assert!(text.contains("// JUSTIFICATION:"), "{file}");
        }
    }
}

#[test]
fn cited_tips_exist() {
    for (file, text) in sources(&["src"]) {
        for cited in text.split("TIP-").skip(1) {
            let number = cited.chars().take_while(char::is_ascii_digit).collect::<String>();
            let known = number.parse().is_ok_and(|number| TIPS.contains(&number));
            assert!(known, "{file} cites TIP-{number}");
        }
    }
}

#[test]
fn no_file_is_orphaned() {
    let sources = sources(&["src", "image", "tests/suite", "tests/boot"]);
    for file in sources.keys() {
        let path = Path::new(file);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = path.parent().unwrap();
        let (declared, parents) = match name.as_str() {
            "main" | "lib" => continue,
            "mod" => (folder.file_name().unwrap().to_string_lossy().into_owned(), folder.parent().unwrap()),
            _ => (name, folder),
        };
        let declares = |parent: &str| {
            sources.get(&parents.join(parent).to_string_lossy().into_owned()).is_some_and(|text| {
                text.lines().any(|line| {
                    let visible = ["pub ", "pub(crate) ", "pub(super) "];
                    let line = line.trim_start();
                    let line = visible.iter().find_map(|word| line.strip_prefix(word)).unwrap_or(line);
                    line == format!("mod {declared};")
                })
            })
        };
        assert!(["mod.rs", "lib.rs", "main.rs"].into_iter().any(declares), "{file} is part of nothing");
    }
}

#[test]
fn the_top_level_holds_only_what_it_should() {
    let listed = std::process::Command::new("git").arg("ls-files").current_dir(root()).output().unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    assert!(files.lines().count() > 50, "git lists no files");
    for name in files.lines().map(|file| file.split('/').next().unwrap()) {
        assert!(name.starts_with('.') || TOP.contains(&name), "{name}");
    }
}

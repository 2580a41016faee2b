//! What an image is made of: the boards, the owner's configuration, the build time.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use osmia::board::{Board, Image, Package};
use osmia::config::Config;

use crate::kernel::Modules;

/// The configuration of an image that is built without one.
const DEFAULT_CONFIG: &str = include_str!("node.toml");

/// Build time where the sources are in no repository: no image is older.
const EARLIEST: u64 = 1_764_000_000;

/// See the module.
pub(crate) struct Plan {
    /// As it was asked for: a board or a family.
    pub(crate) name: String,
    /// The boards that the card is for; never empty.
    pub(crate) boards: Vec<Board>,
    /// Text of `node.toml`, checked.
    pub(crate) config: String,
    /// Unix time of the sources: the clock's floor, and the time of every file.
    pub(crate) built: u64,
}

impl Plan {
    pub(crate) fn new(name: &str, config: Option<&Path>) -> anyhow::Result<Self> {
        let boards = Board::card(name)?;
        if boards.is_empty() {
            let names = Board::all()?.into_iter().map(|board| board.name).collect::<Vec<_>>().join(", ");
            bail!("--board {name}: there is no such board; there are: {names}");
        }
        let (config, path) = match config {
            None => (DEFAULT_CONFIG.to_owned(), "image/node.toml".to_owned()),
            Some(path) => {
                let name = path.display().to_string();
                (std::fs::read_to_string(path).with_context(|| name.clone())?, name)
            }
        };
        // A card with a mistake on it would only say so on the board.
        Config::parse(&config).context(path)?;
        Ok(Self { name: name.to_owned(), boards, config, built: built() })
    }

    /// One list of all boards, each entry once, in order.
    fn union(&self, list: impl Fn(&Image) -> &Vec<String>) -> Vec<String> {
        let mut union = Vec::new();
        for one in self.boards.iter().flat_map(|board| list(&board.image)) {
            if !union.contains(one) {
                union.push(one.clone());
            }
        }
        union
    }

    /// The packages of all boards.
    pub(crate) fn packages(&self) -> Vec<Package> {
        let mut packages: Vec<Package> = Vec::new();
        for package in self.boards.iter().flat_map(|board| &board.image.packages) {
            if !packages.contains(package) {
                packages.push(package.clone());
            }
        }
        packages
    }

    pub(crate) fn modules(&self) -> Modules {
        Modules { early: self.union(|image| &image.early), coldplug: self.union(|image| &image.coldplug) }
    }

    /// Sizes and command line, the same for all boards of a card.
    pub(crate) fn image(&self) -> &Image {
        &self.boards[0].image
    }

    /// Files of the packages on the boot partition.
    pub(crate) fn boot_files(&self) -> Vec<String> {
        self.union(|image| &image.boot_files)
    }

    /// Files of the packages in a slot.
    pub(crate) fn slot_files(&self) -> Vec<String> {
        self.union(|image| &image.slot_files)
    }

    /// `config.txt`: what all boards have in common, then what each has of its own, in its section.
    pub(crate) fn config_text(&self) -> String {
        let common = |line: &&String| self.boards.iter().all(|board| board.image.config.contains(line));
        let mut text = "[all]\n".to_owned();
        for line in self.image().config.iter().filter(common) {
            text.push_str(&format!("{line}\n"));
        }
        for board in &self.boards {
            let own = board.image.config.iter().filter(|line| !common(line)).collect::<Vec<_>>();
            if let Some(section) = board.image.section.as_ref().filter(|_| !own.is_empty()) {
                text.push_str(&format!("[{section}]\n"));
                own.into_iter().for_each(|line| text.push_str(&format!("{line}\n")));
            }
        }
        text
    }
}

/// `SOURCE_DATE_EPOCH`, else the time of the newest commit.
fn built() -> u64 {
    let number = |text: String| text.trim().parse().ok();
    let commit = || {
        let output = Command::new("git").args(["log", "-1", "--format=%ct"]).output().ok()?;
        number(String::from_utf8(output.stdout).ok()?)
    };
    std::env::var("SOURCE_DATE_EPOCH").ok().and_then(number).or_else(commit).unwrap_or(EARLIEST).max(EARLIEST)
}

/// Folder for everything that is built: `target/osmia`.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = target.join("osmia");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

//! What an image is made of: the board, the owner's configuration, the build time.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use osmia::board::Board;
use osmia::config::Config;

/// The configuration of an image that is built without one.
const DEFAULT_CONFIG: &str = include_str!("node.toml");

/// Build time where the sources are in no repository: no image is older.
const EARLIEST: u64 = 1_764_000_000;

/// See the module.
pub(crate) struct Plan {
    pub(crate) board: Board,
    /// Text of `node.toml`, checked.
    pub(crate) config: String,
    /// Unix time of the sources: the clock's floor, and the time of every file.
    pub(crate) built: u64,
}

impl Plan {
    pub(crate) fn new(board: &str, config: Option<&Path>) -> anyhow::Result<Self> {
        let boards = Board::all()?;
        let names = boards.iter().map(|board| board.name.clone()).collect::<Vec<_>>().join(", ");
        let Some(board) = boards.into_iter().find(|known| known.name == board) else {
            bail!("--board {board}: there is no such board; there are: {names}");
        };
        let (config, name) = match config {
            None => (DEFAULT_CONFIG.to_owned(), "image/node.toml".to_owned()),
            Some(path) => {
                let name = path.display().to_string();
                (std::fs::read_to_string(path).with_context(|| name.clone())?, name)
            }
        };
        // A card with a mistake on it would only say so on the board.
        Config::parse(&config).context(name)?;
        Ok(Self { board, config, built: built() })
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

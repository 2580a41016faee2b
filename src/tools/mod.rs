//! Looking at files and networks without a running node: `osmia tools`.

mod recording;
mod replay;

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

/// What is wanted.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Feed a recorded network through engine and store, and compare each milestone
    Replay {
        /// Folder of the recording
        dir: PathBuf,
        /// Full snapshot to begin with, instead of the recording's genesis
        #[arg(long)]
        full: Option<PathBuf>,
        /// Delta snapshot that goes on from the full one
        #[arg(long)]
        delta: Option<PathBuf>,
        /// Folder for the store, which must be new; by default one that is deleted afterwards
        #[arg(long)]
        data: Option<PathBuf>,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Runs a tool; what it finds goes to `out`.
///
/// # Errors
/// What the user has to know; also when what was looked at is not as it should be.
pub fn run(tool: Tool, out: &mut impl Write) -> anyhow::Result<()> {
    match tool {
        Tool::Replay { dir, full, delta, data, json } => {
            let recording = recording::Recording::open(&dir)?;
            let start = replay::Start { full, delta, data };
            let report =
                replay::run(&recording, &start, |line| if json { Ok(()) } else { writeln!(out, "{line}") })?;
            match json {
                true => writeln!(out, "{}", serde_json::to_string(&report)?)?,
                false => writeln!(out, "{report}")?,
            }
            anyhow::ensure!(report.differences == 0, "{} differences", report.differences);
            Ok(())
        }
    }
}

//! The command line of a host; on a board, PID 1 starts the same binary with these commands.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::node;

#[derive(Debug, Parser)]
#[command(name = "osmia", version, about = "An IOTA Tangle node (Stardust) for small boards")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node
    Node {
        /// Configuration file
        #[arg(long)]
        config: PathBuf,
        /// Folder for everything the node keeps
        #[arg(long)]
        data: PathBuf,
        /// Report to a supervisor on standard output
        #[arg(long, hide = true)]
        supervised: bool,
    },
    /// Found a private Tangle on this machine and run its only node
    Devnet {
        /// Folder for everything the node keeps
        #[arg(long, default_value = "osmia-devnet")]
        data: PathBuf,
        /// Where the REST API listens
        #[arg(long, default_value = "127.0.0.1:14265")]
        rest: String,
        /// Do proof of work for clients
        #[arg(long)]
        pow: bool,
    },
    /// Check a configuration file and say what is wrong with it
    CheckConfig {
        /// Configuration file
        file: PathBuf,
    },
}

/// Runs the command in `arguments`; the first is the program's name.
///
/// # Errors
/// What the user has to know; [`clap::Error`] for the command line itself.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> anyhow::Result<()> {
    match Arguments::try_parse_from(arguments)?.command {
        Command::Node { config, data, supervised } => node::run(&read_config(&config)?, &data, supervised),
        Command::Devnet { data, rest, pow } => {
            let text = format!(
                "[coordinator]\nenabled = true\n[health]\nrequire_peers = false\n\
                 [network]\nname = \"osmia-devnet\"\n[rest]\nbind = {rest:?}\n[pow]\nenabled = {pow}\n"
            );
            let config = Config::parse(&text).context("--rest")?;
            node::run(&config, &data, false)
        }
        Command::CheckConfig { file } => read_config(&file).map(drop),
    }
}

fn read_config(path: &Path) -> anyhow::Result<Config> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Config::parse_bytes(&bytes).with_context(|| path.display().to_string())
}

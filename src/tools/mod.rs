//! Looking at files and networks without a running node: `osmia tools`.

mod db;
mod files;
mod keys;
mod node_info;
mod recording;
mod replay;

use std::io::{BufRead, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

pub use db::{Db, run_db};

/// What is wanted, and how it is told.
#[derive(Debug, Args)]
pub struct Tools {
    #[command(subcommand)]
    tool: Tool,
    /// As one JSON object
    #[arg(long, global = true)]
    json: bool,
}

/// Each tool; names are HORNET's where it has one.
#[derive(Debug, Subcommand)]
enum Tool {
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
    },
    /// Show what a snapshot file says of itself
    SnapInfo {
        /// Full or delta snapshot
        #[arg(long, alias = "snapshotPath")]
        snapshot: PathBuf,
    },
    /// Hash of the ledger in snapshot files
    SnapHash {
        /// Full snapshot
        #[arg(long, alias = "fullSnapshotPath")]
        full: PathBuf,
        /// Delta snapshot
        #[arg(long, alias = "deltaSnapshotPath")]
        delta: Option<PathBuf>,
    },
    /// Make the first snapshot of a new network
    SnapGen {
        /// Protocol parameters as JSON
        #[arg(long, alias = "protocolParametersPath")]
        params: PathBuf,
        /// Who gets what is not granted to others
        #[arg(long, alias = "mintAddress")]
        mint_address: String,
        /// Base tokens in the treasury
        #[arg(long, alias = "treasuryAllocation", default_value_t = 0)]
        treasury: u64,
        /// ADDRESS:AMOUNT for others, separated by commas
        #[arg(long, alias = "genesisAddresses", value_delimiter = ',')]
        grant: Vec<String>,
        /// Where to write it
        #[arg(long, alias = "outputPath")]
        out: PathBuf,
    },
    /// Make a full snapshot of a full and a delta one
    SnapMerge {
        /// Full snapshot
        #[arg(long, alias = "fullSnapshotPath")]
        full: PathBuf,
        /// Delta snapshot
        #[arg(long, alias = "deltaSnapshotPath")]
        delta: PathBuf,
        /// Where to write it
        #[arg(long, alias = "targetSnapshotPath")]
        out: PathBuf,
    },
    /// Write a full snapshot of a stopped node
    DbSnapshot {
        /// The node's folder
        #[arg(long)]
        data: PathBuf,
        /// Name of its network
        #[arg(long, default_value = "osmia-private")]
        network: String,
        /// Milestone that the snapshot is of
        #[arg(long, alias = "targetIndex")]
        target: u32,
        /// Where to write it
        #[arg(long, alias = "targetSnapshotPath")]
        out: PathBuf,
    },
    /// Check everything that a stopped node keeps
    DbVerify {
        /// The node's folder
        #[arg(long)]
        data: PathBuf,
        /// Name of its network
        #[arg(long, default_value = "osmia-private")]
        network: String,
    },
    /// Make a key, or find it again by its words
    Ed25519Key {
        /// Prefix of addresses
        #[arg(long, default_value = "rms")]
        hrp: String,
        /// Where below the seed
        #[arg(long, alias = "bip32Path", default_value = "m/44'/4218'/0'/0'/0'")]
        path: String,
        /// 24 words (BIP-39)
        #[arg(long)]
        mnemonic: Option<String>,
    },
    /// Address of a public key
    Ed25519Addr {
        /// Prefix of addresses
        #[arg(long, default_value = "rms")]
        hrp: String,
        /// 64 hex digits
        #[arg(long, alias = "publicKey")]
        public_key: String,
    },
    /// Make a token for the protected routes of a node
    JwtApi {
        /// The node's folder
        #[arg(long)]
        data: PathBuf,
        /// As `rest.jwt_salt` of its configuration
        #[arg(long, default_value = crate::token::SALT)]
        salt: String,
    },
    /// What to keep of a password; it is read from OSMIA_TOOL_PASSWORD or from standard input
    PwdHash {
        /// 64 hex digits; random by default
        #[arg(long)]
        salt: Option<String>,
    },
    /// Ask a running node how it is
    NodeInfo {
        /// Where its API listens
        #[arg(long, alias = "nodeURL", default_value = "http://localhost:14265")]
        node_url: String,
    },
}

/// What a tool found, for people and for programs.
#[derive(Debug)]
struct Answer {
    text: String,
    json: serde_json::Value,
}

/// Runs a tool; what it finds goes to `out`.
///
/// # Errors
/// What the user has to know; also when what was looked at is not as it should be.
pub fn run(Tools { tool, json }: Tools, out: &mut impl Write) -> anyhow::Result<()> {
    let answer = match tool {
        Tool::Replay { dir, full, delta, data } => {
            let start = replay::Start { full, delta, data };
            return run_replay(&dir, &start, json, out);
        }
        Tool::SnapInfo { snapshot } => files::info(&snapshot),
        Tool::SnapHash { full, delta } => files::hash(&full, delta.as_deref()),
        Tool::SnapGen { params, mint_address, treasury, grant: grants, out } => {
            files::generate(&files::Founding { params, mint_address, treasury, grants, out })
        }
        Tool::SnapMerge { full, delta, out } => files::merge(&full, &delta, &out),
        Tool::DbSnapshot { data, network, target, out } => db::snapshot(&data, &network, target, out),
        Tool::DbVerify { data, network } => db::verify(&data, &network),
        Tool::Ed25519Key { hrp, path, mnemonic } => keys::key(&hrp, &path, mnemonic.as_deref()),
        Tool::Ed25519Addr { hrp, public_key } => keys::address(&hrp, &public_key),
        Tool::JwtApi { data, salt } => keys::token(&data, &salt),
        Tool::PwdHash { salt } => keys::password(&read_password()?, salt.as_deref()),
        Tool::NodeInfo { node_url } => node_info::ask(&node_url),
    };
    tell(answer, json, out)
}

/// What was found, or why nothing was: both as JSON where that is wanted.
fn tell(answer: anyhow::Result<Answer>, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    match (answer, json) {
        (Ok(answer), true) => writeln!(out, "{}", answer.json)?,
        (Ok(answer), false) => writeln!(out, "{}", answer.text)?,
        (Err(error), true) => {
            writeln!(out, "{}", serde_json::json!({ "error": format!("{error:#}") }))?;
            return Err(error);
        }
        (Err(error), false) => return Err(error),
    }
    Ok(())
}

fn read_password() -> anyhow::Result<Vec<u8>> {
    if let Ok(password) = std::env::var(keys::PASSWORD_VARIABLE) {
        return Ok(password.into_bytes());
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).as_bytes().to_vec())
}

fn run_replay(
    dir: &std::path::Path,
    start: &replay::Start,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let recording = recording::Recording::open(dir)?;
    let report = replay::run(&recording, start, |line| if json { Ok(()) } else { writeln!(out, "{line}") })?;
    match json {
        true => writeln!(out, "{}", serde_json::to_string(&report)?)?,
        false => writeln!(out, "{report}")?,
    }
    anyhow::ensure!(report.differences == 0, "{} differences", report.differences);
    Ok(())
}

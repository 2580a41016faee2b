//! The command line of a host; on a board, PID 1 starts the same binary with these commands.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::boot::minimum;
use crate::config::Config;
use crate::confine::{self, Needs};
use crate::mining::{bench, calibration};
use crate::node::devnet::Devnet;
use crate::pow::kernel::Kernel;
use crate::pow::tuning::Override;
use crate::tools::{self, Db, Tools};
use crate::{hardware, node, rescue, timekeeper};

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
        /// Little memory: smaller caches, no proof of work for others
        #[arg(long)]
        small: bool,
        /// Page cache of each epoch at most, in MiB
        #[arg(long)]
        most_cache_mib: Option<NonZeroU32>,
        /// Hold room back for a disk that somebody fills to the last byte: 16 MiB at most
        #[arg(long)]
        ballast: bool,
        /// Report to a supervisor on standard output
        #[arg(long, hide = true)]
        supervised: bool,
        /// Kernel for proof of work instead of the one found fastest
        #[arg(long)]
        pow_kernel: Option<String>,
        /// Threads for proof of work at most
        #[arg(long)]
        pow_threads: Option<u32>,
    },
    /// Found a private Tangle on this machine and run its nodes
    Devnet {
        /// Folder for everything the node keeps
        #[arg(long, default_value = "osmia-devnet")]
        data: PathBuf,
        /// Where the REST API listens; further nodes take the ports that follow, and gossip those 1,335 above
        #[arg(long, default_value = "127.0.0.1:14265")]
        rest: SocketAddr,
        /// How many nodes
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
        nodes: u16,
        /// Do proof of work for clients
        #[arg(long)]
        pow: bool,
    },
    /// Check whether this machine is good enough for a node
    CheckHost {
        /// Folder that the node's data will lie in
        #[arg(long, default_value = ".")]
        data: PathBuf,
    },
    /// Look at files and networks without a running node
    Tools(Tools),
    /// Look at what a stopped node stored, take it out, put it in
    Db(Db),
    /// Proof of work on this machine
    Pow {
        #[command(subcommand)]
        command: PowCommand,
    },
    /// Serve the status page of a board
    #[command(hide = true)]
    Rescue {
        /// Folder with status and log
        #[arg(long)]
        folder: PathBuf,
        /// Where the page listens
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Ask time servers for a board
    #[command(hide = true)]
    Time,
    /// Attack from inside
    #[cfg(feature = "attack")]
    Attack {
        /// Process to attack
        #[arg(long)]
        victim: i32,
        /// The node's folder
        #[arg(long)]
        data: PathBuf,
        /// One attack of the list
        #[arg(long)]
        only: Option<String>,
    },
    /// Check a configuration file and say what is wrong with it
    CheckConfig {
        /// Configuration file
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum PowCommand {
    /// Compare the hashes of every kernel that this processor can run with the definition (TIP-12)
    Check {
        /// Seed of the blocks that are made up
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measure every kernel with one, all but one, and all cores
    Bench {
        /// Milliseconds for each row
        #[arg(long, default_value_t = 200)]
        ms: u32,
        /// Also mine for so many seconds without a break, as a node would
        #[arg(long, value_name = "SECONDS")]
        sustain: Option<u64>,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command in `arguments`; the first is the program's name.
///
/// # Errors
/// What the user has to know; [`clap::Error`] for the command line itself.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> anyhow::Result<()> {
    match Arguments::try_parse_from(arguments)?.command {
        Command::Node {
            config,
            data,
            small,
            most_cache_mib,
            ballast,
            supervised,
            pow_kernel: kernel,
            pow_threads: threads,
        } => {
            if supervised {
                confine::await_go()?;
            }
            let mut config = read_config(&config)?;
            if let Some(mib) = most_cache_mib {
                config = config.with_cache_of_at_most(mib);
            }
            let board = node::Board { supervised, ballast, pow: Override { kernel, threads } };
            run_node(&if small { config.small() } else { config }, &data, &board)
        }
        #[cfg(feature = "attack")]
        Command::Attack { victim, data, only: Some(name) } => {
            let code = crate::attack::try_one(&name, victim, &data)?;
            // The exit code is the message.
            #[expect(clippy::exit, reason = "a test build")]
            std::process::exit(code.into())
        }
        #[cfg(feature = "attack")]
        Command::Attack { victim, data, only: None } => {
            confine::await_go()?;
            Ok(crate::attack::run(victim, &data)?)
        }
        Command::Rescue { folder, listen } => {
            confine::await_go()?;
            let needs = Needs { read: Some(&folder), listen: vec![listen.port()], ..Needs::default() };
            confine::enter(&needs)?;
            Ok(rescue::serve(&folder, listen)?)
        }
        Command::Time => {
            confine::await_go()?;
            let (connect, send) = (vec![timekeeper::HTTPS_PORT], vec![timekeeper::NTP_PORT]);
            confine::enter(&Needs { connect, send, ..Needs::default() })?;
            Ok(timekeeper::run()?)
        }
        Command::Devnet { data, rest, nodes, pow } => {
            let devnet = Devnet { data, rest, pow, nodes };
            if nodes > 1 {
                return devnet.run();
            }
            let config = Config::parse(&devnet.founder()).context("--rest")?;
            run_node(&config, &devnet.data, &node::Board::default())
        }
        Command::Pow { command: PowCommand::Check { seed } } => pow_check(seed),
        Command::Pow { command: PowCommand::Bench { ms, sustain, json } } => pow_bench(ms, sustain, json),
        Command::Tools(tools) => tools::run(tools, &mut answers()?),
        Command::Db(db) => tools::run_db(db, &mut answers()?),
        Command::CheckHost { data } => check_host(&data),
        Command::CheckConfig { file } => read_config(&file).map(drop),
    }
}

/// How often this process has started again, in its environment.
const AGAIN: &str = "OSMIA_STARTED_AGAIN";

/// Damage that takes more, one short run after the other, is no damage to mend.
const MOST_STARTS: u32 = 32;

/// A run that was not short.
const GOOD_RUN: Duration = Duration::from_secs(600);

/// Runs a node, which starts again in its own place to mend what it finds damaged. On a board, that is PID 1's to do.
fn run_node(config: &Config, data: &Path, board: &node::Board) -> anyhow::Result<()> {
    let started = Instant::now();
    let ended = node::run(config, data, board);
    let damaged = |error: &anyhow::Error| error.is::<node::StartAgain>() && !board.supervised;
    let before = std::env::var(AGAIN).ok().filter(|_| started.elapsed() < GOOD_RUN);
    let before = before.map_or(Ok(0), |times| times.parse()).unwrap_or(MOST_STARTS);
    match ended {
        Err(error) if damaged(&error) && before < MOST_STARTS => {
            tracing::error!("{error:#}: starting again");
            // Another binary may have taken the place of this one.
            let own = std::env::current_exe().ok().filter(|path| path.exists());
            let mut again = std::process::Command::new(own.unwrap_or_else(|| "/proc/self/exe".into()));
            again.args(std::env::args_os().skip(1)).env(AGAIN, (before + 1).to_string());
            Err(error.context(format!("starting again: {}", again.exec())))
        }
        ended => ended,
    }
}

/// The standard output, for what a tool finds alone: sled tells there what it cannot read, which goes to the log now.
fn answers() -> anyhow::Result<File> {
    let answers = std::io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(std::io::stderr())?;
    Ok(File::from(answers))
}

fn pow_check(seed: u64) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for kernel in Kernel::detect() {
        writeln!(out, "{}: {} hashes are as defined", kernel.name(), kernel.check(seed)?)?;
    }
    Ok(())
}

fn pow_bench(ms: u32, sustain: Option<u64>, json: bool) -> anyhow::Result<()> {
    let tuning = calibration::measure();
    let mut report = bench::run(&tuning, Duration::from_millis(ms.into()));
    if let Some(seconds) = sustain {
        let sensors = hardware::heat::Sensors::open(Path::new("/sys"));
        report.sustained = Some(bench::sustain(&tuning, seconds, move || sensors.read())?);
    }
    let mut out = std::io::stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string(&report)?)?,
        false => write!(out, "{report}")?,
    }
    Ok(())
}

/// Says what is below the minimum; a machine without findings ends in success.
fn check_host(data: &Path) -> anyhow::Result<()> {
    let facts = hardware::machine::facts(data).with_context(|| data.display().to_string())?;
    let findings = minimum::findings(&facts);
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        writeln!(out, "below the minimum: {finding}")?;
    }
    if facts.under_voltage.is_none() {
        writeln!(out, "not measured: whether the supply is strong enough")?;
    }
    anyhow::ensure!(findings.is_empty(), "{} findings; a node runs here all the same", findings.len());
    writeln!(out, "good enough: {facts:?}")?;
    Ok(())
}

fn read_config(path: &Path) -> anyhow::Result<Config> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Config::parse_bytes(&bytes).with_context(|| path.display().to_string())
}

//! The start, step by step, up to the point where the node can run.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::board::Board;
use crate::config::Config;
use crate::firmware::disk::{self, Disk};
use crate::firmware::firewall;
use crate::firmware::modules::Modules;
use crate::firmware::{clock, mount, power};

/// Where the boot partition is mounted.
pub(super) const BOOT: &str = "/boot";
/// Where the data partition is mounted.
pub(super) const DATA: &str = "/data";
/// The owner's configuration.
pub(super) const CONFIG: &str = "/boot/node.toml";
/// What the node keeps.
pub(super) const NODE_DATA: &str = "/data/node";
/// The time of the last run.
pub(super) const CLOCK: &str = "/data/clock";

/// User and group of the node.
pub(super) const NODE_ID: u32 = 1_000;

/// Slow card readers take their time to appear.
const DISK_WITHIN: Duration = Duration::from_secs(60);

/// Kernel file systems, early modules, closed firewall, devices. Gives the board's description.
pub(super) fn early() -> anyhow::Result<Board> {
    mount::kernel_file_systems()?;
    power::report_ctrl_alt_del();
    raise_open_files();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "osmia starts");
    let board = detect_board()?;
    tracing::info!(board = %board.name, "board detected");
    let mut modules = Modules::open(Path::new("/lib/modules")).context("/lib/modules/index")?;
    for name in &board.image.early {
        modules.load(name)?;
    }
    firewall::apply_firewall(&[]).context("closing the firewall")?;
    tracing::info!("firewall closed");
    wait_for_disk(&mut modules)?;
    Ok(board)
}

/// Open files that the node may have; the kernel allows its first process 4,096.
const OPEN_FILES: u64 = 65_536;

fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays low");
    }
}

fn detect_board() -> anyhow::Result<Board> {
    let compatible = fs::read_to_string("/proc/device-tree/compatible").context("device tree")?;
    let names = compatible.split('\0').filter(|name| !name.is_empty()).collect::<Vec<_>>();
    Board::detect(&names)?.with_context(|| format!("no board file for {names:?}"))
}

/// Devices show up one behind the other: a bus must have its module before its devices are seen.
fn wait_for_disk(modules: &mut Modules) -> anyhow::Result<()> {
    let deadline = Instant::now() + DISK_WITHIN;
    loop {
        let loaded = modules.coldplug();
        let found = Disk::find()?.is_some();
        if found && loaded == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            if found {
                return Ok(());
            }
            bail!("no disk with this system's signature");
        }
        if loaded == 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Card and clock.
pub(super) fn late() -> anyhow::Result<()> {
    let disk = Disk::find()?.context("the disk is gone")?;
    match disk.grow() {
        Ok(Some(bytes)) => tracing::info!(mib = bytes >> 20, "data partition grown"),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "data partition not grown"),
    }
    let data = disk.partition(4);
    mount::data(&data, DATA.as_ref())?;
    if let Err(error) = disk::grow_data(&data, DATA.as_ref()) {
        tracing::warn!(%error, "data file system not grown");
    }
    fs::create_dir_all(NODE_DATA).context(NODE_DATA)?;
    std::os::unix::fs::chown(NODE_DATA, Some(NODE_ID), Some(NODE_ID)).context(NODE_DATA)?;
    raise_clock()?;
    Ok(mount::boot(&disk.partition(1), BOOT.as_ref())?)
}

/// What the owner wrote; a mistake is for the owner to mend.
pub(super) fn config() -> anyhow::Result<Config> {
    let bytes = fs::read(CONFIG).with_context(|| CONFIG.to_owned())?;
    Config::parse_bytes(&bytes).with_context(|| CONFIG.to_owned())
}

fn raise_clock() -> anyhow::Result<()> {
    // Written by the image builder.
    let built = fs::read_to_string("/etc/built").unwrap_or_default().trim().parse().unwrap_or(0);
    if let Some(seconds) = clock::raise_to_floor(built, CLOCK.as_ref()).context("setting the clock")? {
        tracing::info!(seconds, "clock raised to its floor");
    }
    Ok(())
}

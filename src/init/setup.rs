//! The start, step by step, up to the point where the node can run.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::board::Board;
use crate::board::layout::Growth;
use crate::firmware::cgroup::Cgroup;
use crate::firmware::disk::{self, Disk};
use crate::firmware::modules::Modules;
use crate::firmware::{firewall, kernel, mount, power};
use crate::{files, logging, rescue};

/// Where the boot partition is mounted.
pub(super) const BOOT: &str = "/boot";
/// Where the data partition is mounted.
pub(super) const DATA: &str = "/data";
/// What the node keeps.
pub(super) const NODE_DATA: &str = "/data/node";
/// The time of the last run.
pub(super) const CLOCK: &str = "/data/clock";
/// The file that is written again and again to see whether the disk works.
pub(super) const PROBE: &str = "/data/probe";
/// Resets because of the node.
pub(super) const RESETS: &str = "/data/resets";
/// Who reaches the API, where the owner changed that while the board ran.
pub(super) const DOOR: &str = "/data/firewall";
/// What the children read, in memory.
pub(super) const RUN: &str = "/run/osmia";
/// The configuration that the node is started with.
pub(super) const CONFIG: &str = "/run/osmia/node.toml";

/// Slow card readers take their time to appear.
const DISK_WITHIN: Duration = Duration::from_secs(60);

/// Kernel file systems, early modules, closed firewall. Gives the board's description and its modules.
pub(super) fn early() -> anyhow::Result<(Board, Modules)> {
    mount::kernel_file_systems()?;
    fs::create_dir_all(RUN).context(RUN)?;
    let _ = logging::keep_in(&Path::new(RUN).join(rescue::LOG));
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
    kernel::harden();
    if let Err(error) = Cgroup::delegate() {
        tracing::error!(%error, "no limits for children");
    }
    Ok((board, modules))
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

/// Whether the kernel was given this argument.
pub(super) fn has_argument(argument: &str) -> bool {
    let text = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    text.split_whitespace().any(|one| one == argument)
}

/// What the card gave.
#[derive(Debug)]
pub(super) struct Storage {
    /// What is wrong with the boot partition.
    pub(super) boot: Result<(), String>,
    /// What is wrong with the data partition.
    pub(super) data: Result<(), String>,
}

/// Modules of the devices found, and the card. A partition that cannot be used is no reason not to start: the
/// owner has to be told. `data_bytes` is the size of a fresh data partition.
pub(super) fn storage(mut modules: Modules, data_bytes: u64) -> Storage {
    let found = wait_for_disk(&mut modules);
    std::thread::spawn(|| late_devices(modules));
    let disk = match found {
        Ok(disk) => disk,
        Err(error) => {
            let problem = format!("{error:#}");
            return Storage { boot: Err(problem.clone()), data: Err(problem) };
        }
    };
    let boot = mount::boot(&disk.partition(1), BOOT.as_ref()).map_err(|error| error.to_string());
    let grown = grow(&disk, data_bytes).context("growing the data partition");
    Storage { boot, data: grown.and_then(|()| data(&disk)).map_err(|error| format!("{error:#}")) }
}

/// The fresh file system of the data partition, as the image builder made it.
const FRESH_DATA: &str = "/lib/data.blocks";

/// Lets the data partition reach to the end of the card. The kernel's way of growing a file system does not survive
/// a power cut, so nothing is stored before it is done and unmounted; a start that finds it begun begins anew.
fn grow(disk: &Disk, data_bytes: u64) -> anyhow::Result<()> {
    let device = disk.partition(4);
    match disk.growth()? {
        Growth::Done => {
            // A card that was copied to a larger one.
            return disk.grow(Growth::Done).map(drop).context("partition table");
        }
        Growth::Begun => {
            tracing::warn!("growing the data partition was interrupted: begun anew");
            disk::restore_fresh(&device, data_bytes, &fs::read(FRESH_DATA)?).context(FRESH_DATA)?;
        }
        Growth::Fresh => {}
    }
    if let Some(bytes) = disk.grow(Growth::Begun).context("partition table")? {
        tracing::info!(mib = bytes >> 20, "data partition grown");
    }
    mount::data(&device, DATA.as_ref())?;
    let resized = disk::grow_data(&device, DATA.as_ref());
    mount::detach(DATA.as_ref());
    resized.context("file system")?;
    disk.grow(Growth::Done).map(drop).context("partition table")
}

/// Devices show up one behind the other: a bus must have its module before its devices are seen.
fn wait_for_disk(modules: &mut Modules) -> anyhow::Result<Disk> {
    let deadline = Instant::now() + DISK_WITHIN;
    loop {
        let loaded = modules.coldplug();
        let found = Disk::find()?;
        let late = Instant::now() >= deadline;
        match found {
            Some(disk) if loaded == 0 || late => return Ok(disk),
            None if late => bail!("no disk with this system on it"),
            Some(_) | None => {}
        }
        if loaded == 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Network adapters and the like on slow buses get their modules for this long; then no module is loaded any more.
pub(super) const LATE_DEVICES_WITHIN: Duration = Duration::from_secs(60);

fn late_devices(mut modules: Modules) {
    let until = Instant::now() + LATE_DEVICES_WITHIN;
    while Instant::now() < until {
        modules.coldplug();
        std::thread::sleep(Duration::from_secs(1));
    }
    kernel::close_modules();
}

/// Stands on the data partition while everything else there is being deleted.
const FORGET: &str = "/data/forget";

/// Deletes everything on the data partition: a power cut at any time is made good by the next start.
pub(super) fn forget() -> std::io::Result<()> {
    fs::File::create(FORGET)?.sync_all()?;
    files::sync_folder(DATA.as_ref())?;
    for entry in fs::read_dir(DATA)? {
        let entry = entry?;
        if entry.file_name() == "lost+found" || entry.path() == Path::new(FORGET) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    files::sync_folder(DATA.as_ref())?;
    fs::remove_file(FORGET)
}

fn data(disk: &Disk) -> anyhow::Result<()> {
    let device = disk.partition(4);
    mount::data(&device, DATA.as_ref())?;
    if let Err(error) = disk::grow_data(&device, DATA.as_ref()) {
        tracing::warn!(%error, "data file system not grown");
    }
    if Path::new(FORGET).exists() {
        tracing::warn!("factory reset: going on after an interruption");
        forget().context(FORGET)?;
    }
    fs::create_dir_all(NODE_DATA).context(NODE_DATA)?;
    let id = super::service::Role::Node.user();
    std::os::unix::fs::chown(NODE_DATA, Some(id), Some(id)).context(NODE_DATA)
}

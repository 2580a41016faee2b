//! What the machine is and how it is doing, as the kernel's files tell.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::boot::minimum::{Disk, Facts};

/// Measures; `data` is the folder that the node's data lie in.
///
/// # Errors
/// The folder cannot be looked at.
pub fn facts(data: &Path) -> io::Result<Facts> {
    let about = rustix::fs::statvfs(data)?;
    let mib = |blocks: u64| blocks.saturating_mul(about.f_frsize) >> 20;
    Ok(Facts {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_mib: memory_mib().unwrap_or(0),
        disk: disk(data),
        disk_mib: mib(about.f_blocks),
        free_mib: mib(about.f_bavail),
        battery_clock: Path::new("/sys/class/rtc/rtc0").exists(),
        under_voltage: under_voltage(),
    })
}

/// All of it, in MiB.
pub fn memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? >> 10)
}

/// What kind of disk a folder is on.
fn disk(data: &Path) -> Disk {
    let Ok(about) = rustix::fs::stat(data) else { return Disk::Unknown };
    let (major, minor) = (rustix::fs::major(about.st_dev), rustix::fs::minor(about.st_dev));
    let link = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let Ok(device) = fs::canonicalize(link) else { return Disk::Unknown };
    // A partition is a folder within its disk's.
    let whole =
        if device.join("partition").exists() { device.parent().map(Path::to_path_buf) } else { Some(device) };
    let Some(whole) = whole else { return Disk::Unknown };
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let spins = fs::read_to_string(whole.join("queue/rotational")).is_ok_and(|text| text.trim() == "1");
    match name.as_str() {
        name if name.starts_with("mmcblk") => Disk::Card,
        name if name.starts_with("nvme") => Disk::Solid,
        name if name.starts_with("sd") && spins => Disk::Spinning,
        name if name.starts_with("sd") => Disk::Solid,
        _ => Disk::Unknown,
    }
}

/// What the kernel's driver for the supply of a Raspberry Pi says, where it is built.
fn under_voltage() -> Option<bool> {
    let monitors = fs::read_dir("/sys/class/hwmon").ok()?.flatten().map(|entry| entry.path());
    let named =
        |path: &PathBuf| fs::read_to_string(path.join("name")).is_ok_and(|name| name.trim() == "rpi_volt");
    let monitor = monitors.into_iter().find(named)?;
    let alarm = fs::read_to_string(monitor.join("in0_lcrit_alarm")).ok()?;
    Some(alarm.trim() == "1")
}

/// Temperature of the processor in thousandths of a degree Celsius.
pub fn temperature() -> Option<i32> {
    let zones = fs::read_dir("/sys/class/thermal").ok()?.flatten().map(|entry| entry.path());
    let named =
        |path: &PathBuf| fs::read_to_string(path.join("type")).is_ok_and(|kind| kind.trim() == "cpu-thermal");
    let zone = zones.into_iter().find(named)?;
    fs::read_to_string(zone.join("temp")).ok()?.trim().parse().ok()
}

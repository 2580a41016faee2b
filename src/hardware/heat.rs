//! How hot the processor is and whether the board slows it down, from files that are opened once: a confined process can
//! go on reading them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::mining::Heat;

/// Where no trip point is told: what the Raspberry Pi's firmware takes.
const LIMIT: i32 = 80_000;

/// The same for processors of PCs, whose trip points are for the use of programs and mean nothing.
const PC_LIMIT: i32 = 95_000;

/// Trip points that can be meant.
const SANE: std::ops::RangeInclusive<i32> = 40_000..=125_000;

/// Where the Raspberry Pi's firmware tells what it does, in hex digits.
const FIRMWARE: &str = "devices/platform/soc/soc:firmware/get_throttled";

/// Of these: the frequency is capped, and the processor is throttled. Not the soft limit of a Pi 3B+, which it reaches at 60
/// degrees, and which costs less than a thread does.
const THROTTLED: u32 = 0b0110;

/// The files.
#[derive(Debug)]
pub struct Sensors {
    temperature: Option<File>,
    limit: i32,
    /// Highest frequency of each policy that is allowed now, and that was allowed at first.
    frequencies: Vec<(File, u64)>,
    /// What the firmware of a Raspberry Pi tells, where the kernel has a file for it (Raspberry Pi OS).
    firmware: Option<File>,
    /// Whether it was told that the sensor fails.
    told: AtomicBool,
}

impl Sensors {
    /// Those below `sys`, which is `/sys` but for tests.
    pub fn open(sys: &Path) -> Self {
        let zone = folders(&sys.join("class/thermal")).into_iter().find(|zone| {
            let kind = text(&zone.join("type"));
            ["cpu-thermal", "cpu_thermal", "soc-thermal", "x86_pkg_temp"].contains(&kind.trim())
        });
        let limit = match &zone {
            Some(zone) if text(&zone.join("type")).trim() == "x86_pkg_temp" => PC_LIMIT,
            Some(zone) => passive_trip(zone).unwrap_or(LIMIT),
            None => LIMIT,
        };
        let policies = folders(&sys.join("devices/system/cpu/cpufreq"));
        let frequency = |policy: PathBuf| {
            let allowed = File::open(policy.join("scaling_max_freq")).ok()?;
            let at_first = number(&allowed)?;
            Some((allowed, at_first))
        };
        Self {
            temperature: zone.and_then(|zone| File::open(zone.join("temp")).ok()),
            limit,
            frequencies: policies.into_iter().filter_map(frequency).collect(),
            firmware: File::open(sys.join(FIRMWARE)).ok(),
            told: AtomicBool::new(false),
        }
    }

    /// As it is now.
    pub fn read(&self) -> Heat {
        let slowed = |(file, at_first): &(File, u64)| number::<u64>(file).is_some_and(|now| now < *at_first);
        Heat {
            millidegrees: self.temperature.as_ref().map(|file| number(file).unwrap_or_else(|| self.failed())),
            limit: self.limit,
            throttled: self.frequencies.iter().any(slowed) || self.is_throttled(),
        }
    }
}

impl Sensors {
    fn is_throttled(&self) -> bool {
        let mut text = [0; 24];
        let length = self.firmware.as_ref().map_or(0, |file| file.read_at(&mut text, 0).unwrap_or(0));
        let digits = std::str::from_utf8(&text[..length]).unwrap_or_default().trim();
        let flags = u32::from_str_radix(digits.trim_start_matches("0x"), 16);
        flags.is_ok_and(|flags| flags & THROTTLED != 0)
    }

    /// A sensor that fails counts as too hot: nobody would notice otherwise.
    fn failed(&self) -> i32 {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the processor's temperature cannot be read any more: no proof of work for others"
            );
        }
        self.limit
    }
}

/// Lowest temperature at which the kernel makes the processor slower.
fn passive_trip(zone: &Path) -> Option<i32> {
    let trips =
        (0..16).filter(|trip| text(&zone.join(format!("trip_point_{trip}_type"))).trim() == "passive");
    let temperatures =
        trips.filter_map(|trip| text(&zone.join(format!("trip_point_{trip}_temp"))).trim().parse().ok());
    temperatures.filter(|temperature| SANE.contains(temperature)).min()
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut entries: Vec<PathBuf> = entries.unwrap_or_default();
    entries.sort();
    entries
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn number<T: std::str::FromStr>(file: &File) -> Option<T> {
    let mut text = [0; 24];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

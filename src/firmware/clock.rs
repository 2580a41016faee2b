//! The clock: read, set, slewed, saved.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clock_steering::Clock as _;
use clock_steering::unix::UnixClock;
use rustix::time::{ClockId, Timespec, clock_settime};

use crate::boot::clock::Found;
use crate::files;

/// How often the time is saved.
pub const SAVE_EVERY: Duration = Duration::from_secs(300);

/// A slewed error is made up for within this time, in seconds.
const SLEW_S: f64 = 900.0;

/// The kernel takes no more, in parts per million.
const MAX_SLEW_PPM: f64 = 500.0;

/// Unix time, in seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a start finds: `built` is the Unix time of the image, `saved` the file of [`save`].
pub fn find(built: u64, saved: &Path) -> Found {
    let numbers = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut words = text.split_whitespace().map(|word| word.parse().unwrap_or(0));
        [words.next().unwrap_or(0), words.next().unwrap_or(0)]
    };
    let [saved_sure, saved] = numbers(saved);
    let [battery, _] = numbers(Path::new("/sys/class/rtc/rtc0/since_epoch"));
    Found { built, saved_sure, saved, battery, now: now() }
}

/// Sets the clock.
///
/// # Errors
/// The kernel refuses.
pub fn set(seconds: u64) -> io::Result<()> {
    let tv_sec = i64::try_from(seconds).unwrap_or(i64::MAX);
    Ok(clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec: 0 })?)
}

/// Moves the clock at once.
///
/// # Errors
/// The kernel refuses.
pub fn step(offset_ns: i64) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let to = i128::try_from(now).unwrap_or(i128::MAX) + i128::from(offset_ns);
    let narrow = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
    let second = 1_000_000_000;
    let to = Timespec { tv_sec: narrow(to.div_euclid(second)), tv_nsec: narrow(to.rem_euclid(second)) };
    clock_settime(ClockId::Realtime, to)?;
    slew(0)
}

/// Lets the clock run faster or slower, so that `offset_ns` is made up for in a quarter of an hour, or more slowly
/// where the kernel allows no more; 0 ends it.
///
/// # Errors
/// The kernel refuses.
pub fn slew(offset_ns: i64) -> io::Result<()> {
    let ppm = (offset_ns as f64 / 1e3 / SLEW_S).clamp(-MAX_SLEW_PPM, MAX_SLEW_PPM);
    UnixClock::CLOCK_REALTIME.set_frequency(ppm).map(drop).map_err(io::Error::other)
}

/// Saves two times for the next start: a sure one and the newest.
///
/// # Errors
/// The file cannot be written.
pub fn save(path: &Path, (sure, any): (u64, u64)) -> io::Result<()> {
    files::write_atomic(path, format!("{sure} {any}\n").as_bytes(), 0o644)
}

//! The clock's floor: never before this program was built, nor before what was saved at the last run.
//!
//! A board without a battery-backed clock starts in 1970 otherwise. Time from the network comes later.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_settime};

use crate::files;

/// Sets the clock to the newest of: itself, a battery-backed clock, the file saved by [`save`], and
/// `built`, the Unix time of the image. Gives what it was moved to, `None` when it was right already.
///
/// # Errors
/// The kernel refuses to set the clock.
pub fn raise_to_floor(built: u64, saved: &Path) -> io::Result<Option<u64>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let number = |path: &Path| {
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let rtc = number(Path::new("/sys/class/rtc/rtc0/since_epoch"));
    let floor = built.max(number(saved)).max(rtc);
    // Two clocks of whole seconds that agree may differ by one.
    if now + 2 >= floor {
        return Ok(None);
    }
    let seconds = i64::try_from(floor).unwrap_or(i64::MAX);
    clock_settime(ClockId::Realtime, Timespec { tv_sec: seconds, tv_nsec: 0 })?;
    Ok(Some(floor))
}

/// How often the time is saved.
pub const SAVE_EVERY: Duration = Duration::from_secs(300);

/// Saves the time for the next start.
///
/// # Errors
/// The file cannot be written.
pub fn save(saved: &Path) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    files::write_atomic(saved, format!("{now}\n").as_bytes(), 0o644)
}

//! Spare computing power: what a load balancer or a person may count on.
//!
//! The calibrated rate of all cores, times the share of their time that is idle, less what heat takes. In hashes a second:
//! a measure that means the same on every machine.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::Heat;
use crate::pow::tuning::Tuning;

/// Share of the newest second in what is told: the last ten seconds or so count.
const NEWEST: u64 = 8;

/// Where heat begins to count, and where nothing is left, below the limit; in thousandths of a degree.
const HEAT: (i32, i32) = (20_000, 3_000);

/// The kernel's count of idle time, opened once: a confined process can go on reading it. Ask once a second.
#[derive(Debug)]
pub struct Capacity {
    /// Of all cores, in hashes a second.
    rate: u64,
    stat: Option<File>,
    before: Ticks,
    /// Idle share in thousandths.
    idle: u64,
}

/// Time of all cores since the start, in whatever the kernel counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    idle: u64,
    all: u64,
}

impl Capacity {
    /// Of a machine with these cores.
    pub fn open(tuning: &Tuning) -> Self {
        let stat = File::open("/proc/stat").ok();
        Self { rate: tuning.rate(tuning.cores()), before: Ticks::default(), idle: 1_000, stat }
    }

    /// Spare hashes a second; `None` where the kernel does not tell.
    pub fn spare(&mut self, heat: Heat) -> Option<u64> {
        let mut text = [0; 256];
        let length = self.stat.as_ref()?.read_at(&mut text, 0).ok()?;
        let now = ticks(&String::from_utf8_lossy(&text[..length]))?;
        let all = now.all.saturating_sub(self.before.all);
        if let Some(share) = (now.idle.saturating_sub(self.before.idle) * 1_000).checked_div(all) {
            self.idle = (self.idle * (NEWEST - 1) + share.min(1_000)) / NEWEST;
        }
        self.before = now;
        Some(self.rate.saturating_mul(self.idle) / 1_000 * cool(heat) / 1_000)
    }
}

/// The first line of `/proc/stat`: user, nice, system, idle, waiting for disks, … What runs at the lowest priority,
/// proof of work for others, counts as busy: another client would have to wait for it.
fn ticks(text: &str) -> Option<Ticks> {
    let mut words = text.lines().next()?.split_whitespace();
    if words.next() != Some("cpu") {
        return None;
    }
    let counts = words.map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
    // Guests are counted among user and nice already.
    Some(Ticks { idle: counts.get(3)? + counts.get(4)?, all: counts.iter().take(8).sum() })
}

/// What heat leaves, in thousandths.
fn cool(heat: Heat) -> u64 {
    let below = heat.millidegrees.map_or(HEAT.0, |now| heat.limit.saturating_sub(now)).clamp(HEAT.1, HEAT.0);
    let left =
        u64::from((below - HEAT.1).unsigned_abs()) * 1_000 / u64::from((HEAT.0 - HEAT.1).unsigned_abs());
    if heat.throttled { left / 2 } else { left }
}

#[cfg(test)]
mod tests {
    use super::{Heat, Ticks, cool, ticks};

    #[test]
    fn idle_time_is_read() {
        let text = "cpu  10 20 30 400 50 1 2 3 4 5\ncpu0 1 2 3 4\n";
        assert_eq!(ticks(text), Some(Ticks { idle: 450, all: 516 }));
        for damaged in ["", "cpu", "cpu 1 2 3", "cpu 1 2 3 x 5", "intr 1 2 3 4 5"] {
            assert_eq!(ticks(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn heat_takes_its_part() {
        let heat = |millidegrees, throttled| Heat { millidegrees, limit: 80_000, throttled };
        assert_eq!(cool(Heat::default()), 1_000);
        assert_eq!(cool(heat(Some(40_000), false)), 1_000);
        assert_eq!(cool(heat(Some(40_000), true)), 500);
        assert_eq!(cool(heat(Some(68_500), false)), 500);
        assert_eq!(cool(heat(Some(79_000), false)), 0);
        assert_eq!(cool(heat(Some(i32::MAX), true)), 0);
    }
}

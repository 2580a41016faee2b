//! How many threads may mine: fewer before the board itself slows down, more again when it is cool.
//!
//! Pure: time and measurements are arguments.

use std::time::Duration;

/// How hot the board is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heat {
    /// Of the processor, in thousandths of a degree Celsius; `None` where nothing measures it.
    pub millidegrees: Option<i32>,
    /// Where the board slows itself down, in the same unit.
    pub limit: i32,
    /// It has slowed itself down.
    pub throttled: bool,
}

/// Distance to the limit from which on a thread is dropped; with twice of it a thread comes back. In thousandths.
const MARGIN: i32 = 10_000;

/// This close to the limit, nothing is mined at all.
const STOP_MARGIN: i32 = 3_000;

/// This far from it, a first thread comes back: a board that is warm while it does nothing would never mine again.
const BACK_MARGIN: i32 = 15_000;

/// A change takes that long to be felt.
const SETTLES: Duration = Duration::from_secs(5);

/// Until a thread is tried again; doubled each time that this turns out to be too much.
const RETRY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(640));

/// A thread that is taken back within this time was too much: heat takes minutes to build up.
const SOON: Duration = Duration::from_secs(300);

/// Share of the best rate of a thread below which the board is taken to slow down.
const SLOW: f64 = 0.85;

/// Seconds in a row of that.
const SLOW_SECONDS: u32 = 5;

/// What a second without a better one leaves of the best rate: half of it after half an hour.
const FORGETS: f64 = 0.9996;

/// The rule. Ask it once a second.
#[derive(Debug, Clone)]
pub struct Governor {
    most: u32,
    allowed: u32,
    changed: Duration,
    /// When a thread was last given back.
    raised: Option<Duration>,
    retry: Duration,
    best: f64,
    /// Seconds in a row in which threads were slow.
    slow: u32,
}

impl Governor {
    /// All of `most` threads may run.
    pub fn new(most: u32) -> Self {
        Self {
            most,
            allowed: most,
            changed: Duration::ZERO,
            raised: None,
            retry: RETRY.0,
            best: 0.0,
            slow: 0,
        }
    }

    /// Threads that may run from `now` on. `rate`: hashes for each second of processor time in the last second; `None` when
    /// there was too little of it.
    pub fn judge(&mut self, now: Duration, heat: Heat, rate: Option<f64>) -> u32 {
        self.best = (self.best * FORGETS).max(rate.unwrap_or(0.0));
        let below = heat.millidegrees.map_or(i32::MAX, |now| heat.limit.saturating_sub(now));
        // A board that is known to be cool is slow for another reason.
        let may_be_hot = heat.millidegrees.is_none() || below < 2 * MARGIN;
        let slow = may_be_hot && rate.is_some_and(|rate| rate < SLOW * self.best);
        self.slow = if slow { self.slow + 1 } else { 0 };
        if below < STOP_MARGIN {
            self.set(now, 0);
        } else if below < MARGIN || heat.throttled || self.slow >= SLOW_SECONDS {
            // A single thread goes on where only others make the board hot; none comes back here.
            if now.saturating_sub(self.changed) >= SETTLES && self.allowed > 1 {
                self.set(now, self.allowed - 1);
            }
        } else if below >= if self.allowed == 0 { BACK_MARGIN } else { 2 * MARGIN }
            && now.saturating_sub(self.changed) >= self.retry
            && self.allowed < self.most
        {
            self.set(now, self.allowed + 1);
        }
        self.allowed
    }

    fn set(&mut self, now: Duration, allowed: u32) {
        if allowed > self.allowed {
            self.raised = Some(now);
        } else if allowed < self.allowed {
            let soon = self.raised.take().is_some_and(|raised| now.saturating_sub(raised) < SOON);
            self.retry = if soon { (self.retry * 2).min(RETRY.1) } else { RETRY.0 };
        }
        if allowed != self.allowed {
            self.changed = now;
        }
        self.allowed = allowed;
    }
}

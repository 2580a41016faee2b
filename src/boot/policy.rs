//! When the node is started again, and when the watchdog may be fed.

use std::time::{Duration, Instant};

/// A node that ran this long before it ended is started again at once.
const GOOD_RUN: Duration = Duration::from_secs(60);

/// First pause after a short run; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two starts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Without a sign of progress for this long, the watchdog is not fed any more. Longer than the longest pause
/// between two starts and what a start on a slow card takes.
const PATIENCE: Duration = Duration::from_secs(180);

/// A node that is silent for this long is killed: starting it again may help, before the watchdog bites.
const SILENCE: Duration = Duration::from_secs(90);

/// Whether a node whose last sign of life was at `alive` has to be killed.
pub fn is_too_silent(alive: Instant, now: Instant) -> bool {
    now.saturating_duration_since(alive) >= SILENCE
}

/// Pauses between starts of the node.
#[derive(Debug, Default)]
pub struct Restarts {
    short_runs: u32,
}

impl Restarts {
    /// How long to wait before the next start, after a run of this length.
    pub fn pause_after(&mut self, run: Duration) -> Duration {
        if run >= GOOD_RUN {
            self.short_runs = 0;
            return Duration::ZERO;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.short_runs.min(10)).min(LONGEST_PAUSE);
        self.short_runs += 1;
        pause
    }
}

/// Decides whether the hardware watchdog is fed: only on proof that the node works, or while a person must
/// act first, when a reset would change nothing.
#[derive(Debug)]
pub struct Feeding {
    progress: Instant,
    waits_for_person: bool,
}

impl Feeding {
    /// The time until the first sign of progress counts from `now`.
    pub fn new(now: Instant) -> Self {
        Self { progress: now, waits_for_person: false }
    }

    /// The node proved that it works.
    pub fn progressed(&mut self, now: Instant) {
        self.progress = now;
        self.waits_for_person = false;
    }

    /// Nothing can be done before the owner changes something.
    pub fn wait_for_person(&mut self) {
        self.waits_for_person = true;
    }

    /// Whether to feed now.
    pub fn may_feed(&self, now: Instant) -> bool {
        self.waits_for_person || now.saturating_duration_since(self.progress) < PATIENCE
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Feeding, LONGEST_PAUSE, PATIENCE, Restarts, SILENCE};

    #[test]
    fn pauses_double_and_a_good_run_forgives() {
        let mut restarts = Restarts::default();
        let short = Duration::from_secs(2);
        let pauses = [(); 8].map(|()| restarts.pause_after(short).as_secs());
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(restarts.pause_after(Duration::from_secs(3_600)), Duration::ZERO);
        assert_eq!(restarts.pause_after(short).as_secs(), 1);
        assert!(LONGEST_PAUSE < PATIENCE && SILENCE < PATIENCE);
    }

    #[test]
    fn silence_starves_the_watchdog() {
        let start = Instant::now();
        let mut feeding = Feeding::new(start);
        assert!(feeding.may_feed(start));
        feeding.progressed(start + PATIENCE / 2);
        assert!(feeding.may_feed(start + PATIENCE));
        assert!(!feeding.may_feed(start + PATIENCE * 2));
        feeding.wait_for_person();
        assert!(feeding.may_feed(start + PATIENCE * 2));
    }
}

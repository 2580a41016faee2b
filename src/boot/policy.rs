//! When the node is started again, and when the board has to be reset because of it.

use std::time::{Duration, Instant};

/// A node that ran this long before it ended is started again at once.
const GOOD_RUN: Duration = Duration::from_secs(60);

/// First pause after a short run; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two starts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Pauses between starts of a process.
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

/// A sign of life that must keep coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The node's engine turned.
    Engine,
    /// The REST API answered a request.
    Api,
    /// A write to the data partition became durable.
    Disk,
}

impl Sign {
    const ALL: [Self; 3] = [Self::Engine, Self::Api, Self::Disk];

    fn missing(self) -> &'static str {
        match self {
            Self::Engine => "the node's engine stands still",
            Self::Api => "the node's API does not answer",
            Self::Disk => "the disk does not take what is written",
        }
    }
}

/// A node that works and then misses one of its signs for this long leads to a reset: with what a reset itself
/// takes, the board is back at work within a minute.
const MISSING: Duration = Duration::from_secs(40);

/// A node that has given no sign since it was started, or that ends again and again, has this long: a start on
/// a slow card may read much, and the longest pause between two starts is a minute.
const STARTING: Duration = Duration::from_secs(180);

/// Watches over the signs of life. The hardware watchdog is fed only as long as this is content.
#[derive(Debug)]
pub struct Vigil {
    /// Since when the node has been without any proof that it works; `None` while it works.
    starting: Option<Instant>,
    /// When each of [`Sign::ALL`] was last seen.
    seen: [Instant; 3],
}

impl Vigil {
    /// A node is started at `now`.
    pub fn new(now: Instant) -> Self {
        Self { starting: Some(now), seen: [now; 3] }
    }

    /// A sign of life.
    pub fn seen(&mut self, sign: Sign, now: Instant) {
        if let Some(since) = self.starting
            && sign != Sign::Disk
        {
            // Both engine and API must have given a sign before short deadlines count.
            self.seen[sign as usize] = now;
            let works = |sign: Sign| self.seen[sign as usize] > since;
            if works(Sign::Engine) && works(Sign::Api) {
                self.starting = None;
                self.seen = [now; 3];
            }
        }
        self.seen[sign as usize] = now;
    }

    /// Whether the node has proven that it works.
    pub fn works(&self) -> bool {
        self.starting.is_none()
    }

    /// The node ended and will be started again. Earlier failures count on: a node that crashes for ever is no
    /// node that works.
    pub fn ended(&mut self, now: Instant) {
        if self.starting.is_none() {
            *self = Self::new(now);
        }
    }

    /// Why the board has to be reset; `None` while all is well.
    pub fn verdict(&self, now: Instant) -> Option<&'static str> {
        let older = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        // A disk that hangs is no matter of the node's state.
        if older(self.seen[Sign::Disk as usize], MISSING) {
            return Some(Sign::Disk.missing());
        }
        match self.starting {
            Some(since) => older(since, STARTING).then_some("the node does not start"),
            None => Sign::ALL
                .into_iter()
                .find(|sign| older(self.seen[*sign as usize], MISSING))
                .map(Sign::missing),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use std::time::{Duration, Instant};

    use super::{LONGEST_PAUSE, MISSING, Restarts, STARTING, Sign, Vigil};

    #[test]
    fn pauses_double_and_a_good_run_forgives() {
        let mut restarts = Restarts::default();
        let short = Duration::from_secs(2);
        let pauses = [(); 8].map(|()| restarts.pause_after(short).as_secs());
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(restarts.pause_after(Duration::from_secs(3_600)), Duration::ZERO);
        assert_eq!(restarts.pause_after(short).as_secs(), 1);
        assert!(LONGEST_PAUSE < STARTING && MISSING < Duration::from_secs(60));
    }

    /// Seconds after the start at which a node that works misses `missing`; gives the verdict then.
    fn without(missing: Sign, after: u64) -> Option<&'static str> {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut vigil = Vigil::new(start);
        for second in 1..=after {
            for sign in Sign::ALL {
                if sign != missing || second <= 10 {
                    vigil.seen(sign, at(second));
                }
            }
        }
        vigil.verdict(at(after))
    }

    #[test]
    fn each_sign_of_life_is_missed_on_its_own() {
        for sign in Sign::ALL {
            assert_eq!(without(sign, 49), None);
            assert_eq!(without(sign, 50), Some(sign.missing()));
        }
    }

    #[test]
    fn a_node_may_start_slowly_but_not_for_ever() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut vigil = Vigil::new(start);
        for second in 1..180 {
            vigil.seen(Sign::Disk, at(second));
            // It turns, but its API never answers; it crashes now and then.
            vigil.seen(Sign::Engine, at(second));
            if second % 50 == 0 {
                vigil.ended(at(second));
            }
            assert_eq!(vigil.verdict(at(second)), None);
        }
        vigil.seen(Sign::Disk, at(180));
        assert_eq!(vigil.verdict(at(180)), Some("the node does not start"));
    }

    #[test]
    fn a_node_that_worked_and_crashed_starts_anew() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut vigil = Vigil::new(start);
        for second in 1..300 {
            Sign::ALL.into_iter().for_each(|sign| vigil.seen(sign, at(second)));
        }
        vigil.ended(at(300));
        (300..=479).for_each(|second| vigil.seen(Sign::Disk, at(second)));
        assert_eq!(vigil.verdict(at(479)), None);
        vigil.seen(Sign::Disk, at(480));
        assert_eq!(vigil.verdict(at(480)), Some("the node does not start"));
    }
}

//! Resets of the board because of its node: remembered, so that they cannot go on for ever.
//!
//! The record is text, a line each: Unix time and reason.

/// Resets within [`STORM_S`] after which the node is left alone.
const STORM: usize = 3;

/// Seconds.
const STORM_S: u64 = 3_600;

/// Older ones tell nothing new.
const KEPT: usize = 16;

/// The newest resets, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resets {
    list: Vec<(u64, String)>,
}

impl Resets {
    /// Reads a record; lines that are none are left out.
    pub fn read(text: &str) -> Self {
        let entry = |line: &str| {
            let (seconds, reason) = line.split_once(' ')?;
            Some((seconds.parse().ok()?, reason.to_owned()))
        };
        let mut resets = Self { list: text.lines().filter_map(entry).collect() };
        resets.forget_old();
        resets
    }

    /// The record as text.
    pub fn text(&self) -> String {
        self.list.iter().map(|(seconds, reason)| format!("{seconds} {reason}\n")).collect()
    }

    /// Remembers a reset at `now`, Unix time.
    pub fn add(&mut self, now: u64, reason: &str) {
        self.list.push((now, reason.lines().collect::<Vec<_>>().join(" ")));
        self.forget_old();
    }

    fn forget_old(&mut self) {
        let surplus = self.list.len().saturating_sub(KEPT);
        self.list.drain(..surplus);
    }

    /// Whether there were three within the last hour: starting the node again would end in the next one. Gives
    /// the reason of the newest. A clock that went back by less than that makes no reset look older.
    pub fn storm(&self, now: u64) -> Option<&str> {
        let age = |seconds: u64| now.abs_diff(seconds);
        let recent = self.list.iter().filter(|(seconds, _)| age(*seconds) < STORM_S).count();
        self.list.last().filter(|_| recent >= STORM).map(|(_, reason)| reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Resets};

    #[test]
    fn three_within_an_hour_are_a_storm() {
        let mut resets = Resets::default();
        resets.add(1_000, "first");
        resets.add(1_100, "second\nline");
        assert_eq!(resets.storm(1_100), None);
        resets.add(4_000, "third");
        assert_eq!(resets.storm(4_000), Some("third"));
        assert_eq!(resets.storm(4_601), None);
        assert_eq!(Resets::read(&resets.text()), resets);
        assert_eq!(resets.text().lines().count(), 3);
    }

    #[test]
    fn a_damaged_record_is_read_as_far_as_it_goes() {
        let resets = Resets::read("12 a\n\nx y\n13\n14 b c\n");
        assert_eq!(resets.text(), "12 a\n14 b c\n");
        let mut many = Resets::default();
        (0..100).for_each(|number| many.add(number, "again"));
        assert_eq!(many.text().lines().count(), KEPT);
    }
}

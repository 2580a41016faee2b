//! What pressing the button means.

use std::time::{Duration, Instant};

/// Held shorter: show the status.
const LONG: Duration = Duration::from_secs(2);

/// Held this long: ask for a factory reset.
const VERY_LONG: Duration = Duration::from_secs(10);

/// A short press within this time after asking confirms the factory reset.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(15);

/// What the owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Show the status.
    Show,
    /// Stop in order.
    Stop,
    /// Be asked, by the light, whether everything is to be deleted.
    AskReset,
    /// Delete everything.
    Reset,
}

/// A button, and what it has been asked.
#[derive(Debug, Default)]
pub struct Button {
    down: Option<Instant>,
    asked: Option<Instant>,
}

impl Button {
    /// It goes down.
    pub fn pressed(&mut self, now: Instant) {
        self.down = Some(now);
    }

    /// It comes up.
    pub fn released(&mut self, now: Instant) -> Option<Wish> {
        let held = now.saturating_duration_since(self.down.take()?);
        let asked = self.asked.filter(|asked| now.saturating_duration_since(*asked) < CONFIRM_WITHIN);
        if held >= VERY_LONG {
            return None;
        }
        self.asked = None;
        match (held < LONG, asked) {
            (true, Some(_)) => Some(Wish::Reset),
            (true, None) => Some(Wish::Show),
            // While asked, anything else takes the question back.
            (false, Some(_)) => None,
            (false, None) => Some(Wish::Stop),
        }
    }

    /// Time passes: a button that is held very long asks when the limit is reached, so that its owner sees it.
    pub fn tick(&mut self, now: Instant) -> Option<Wish> {
        let held = now.saturating_duration_since(self.down?);
        if held < VERY_LONG || self.asked.is_some_and(|asked| Some(asked) > self.down) {
            return None;
        }
        self.asked = Some(now);
        Some(Wish::AskReset)
    }

    /// Whether the question stands.
    pub fn asks(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < CONFIRM_WITHIN)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Button, Wish};

    /// Presses for so many milliseconds, looked at every 100; gives all wishes.
    fn press(button: &mut Button, start: Instant, ms: u64) -> Vec<Wish> {
        button.pressed(start);
        let at = |ms| start + Duration::from_millis(ms);
        let mut wishes = (0..ms).step_by(100).filter_map(|ms| button.tick(at(ms))).collect::<Vec<_>>();
        wishes.extend(button.released(at(ms)));
        wishes
    }

    #[test]
    fn length_decides() {
        let start = Instant::now();
        assert_eq!(press(&mut Button::default(), start, 200), [Wish::Show]);
        assert_eq!(press(&mut Button::default(), start, 2_500), [Wish::Stop]);
        assert_eq!(press(&mut Button::default(), start, 12_000), [Wish::AskReset]);
    }

    #[test]
    fn a_reset_needs_a_second_press_in_time() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut button = Button::default();
        assert_eq!(press(&mut button, start, 11_000), [Wish::AskReset]);
        assert!(button.asks(later(12)) && !button.asks(later(30)));
        assert_eq!(press(&mut button, later(15), 200), [Wish::Reset]);
        // Too late.
        let mut button = Button::default();
        press(&mut button, start, 11_000);
        assert_eq!(press(&mut button, later(40), 200), [Wish::Show]);
        // A long press takes the question back.
        let mut button = Button::default();
        press(&mut button, start, 11_000);
        assert_eq!(press(&mut button, later(13), 3_000), []);
        assert_eq!(press(&mut button, later(17), 200), [Wish::Show]);
    }

    #[test]
    fn a_release_without_a_press_means_nothing() {
        assert_eq!(Button::default().released(Instant::now()), None);
    }
}

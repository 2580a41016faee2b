//! A change of the firewall may lock its owner out: it is undone unless it is confirmed in time.

use std::time::{Duration, Instant};

/// A change that nobody confirms lasts this long.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(60);

/// Sooner after the one before, no change is made: whoever took the node over must not keep PID 1 busy.
const PAUSE: Duration = Duration::from_secs(1);

/// Who reaches the REST API of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Private, link-local and loopback addresses.
    Private,
    /// Every address.
    Everybody,
}

impl Reach {
    /// As `rest.public` says it.
    pub fn of(public: bool) -> Self {
        if public { Self::Everybody } else { Self::Private }
    }

    /// Whether that is everybody.
    pub fn is_public(self) -> bool {
        self == Self::Everybody
    }

    /// One word for it, which [`Reach::parse`] takes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Everybody => "everybody",
        }
    }

    /// The other way around.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Private, Self::Everybody].into_iter().find(|reach| reach.word() == word)
    }
}

/// What is kept, and what is tried instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    kept: Reach,
    tried: Option<(Reach, Instant)>,
    changed: Option<Instant>,
}

impl Trial {
    /// Nothing is tried.
    pub fn of(kept: Reach) -> Self {
        Self { kept, tried: None, changed: None }
    }

    /// Which rules belong into the kernel.
    pub fn in_force(&self) -> Reach {
        self.tried.map_or(self.kept, |(tried, _)| tried)
    }

    /// How long what is tried still lasts.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.tried.map(|(_, until)| until.saturating_duration_since(now))
    }

    /// Tries something, or takes a trial back. Whether other rules belong into the kernel now.
    pub fn change(&mut self, to: Reach, now: Instant) -> bool {
        if self.changed.is_some_and(|changed| now < changed + PAUSE) {
            return false;
        }
        let before = self.in_force();
        self.tried = (to != self.kept).then_some((to, now + CONFIRM_WITHIN));
        self.changed = Some(now);
        self.in_force() != before
    }

    /// What is tried is kept. Whether there was anything.
    pub fn confirm(&mut self, now: Instant) -> bool {
        let Some((tried, _)) = self.tried.take_if(|(_, until)| now < *until) else { return false };
        self.kept = tried;
        true
    }

    /// Whether nobody confirmed in time, so that the rules of before belong into the kernel.
    pub fn undo(&mut self, now: Instant) -> bool {
        self.tried.take_if(|(_, until)| now >= *until).is_some()
    }

    /// What is tried cannot be had.
    pub fn give_up(&mut self) -> bool {
        self.tried.take().is_some()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;

    const ALL: [Reach; 2] = [Reach::Private, Reach::Everybody];

    #[test]
    fn a_change_is_undone_unless_it_is_confirmed() {
        let now = Instant::now();
        for (kept, other) in [(ALL[0], ALL[1]), (ALL[1], ALL[0])] {
            let mut trial = Trial::of(kept);
            assert!(!trial.change(kept, now) && !trial.confirm(now) && !trial.undo(now + CONFIRM_WITHIN));
            let now = now + PAUSE;
            assert!(trial.change(other, now));
            assert_eq!((trial.in_force(), trial.left(now)), (other, Some(CONFIRM_WITHIN)));
            let late = now + CONFIRM_WITHIN;
            assert!(!trial.undo(late - Duration::from_millis(1)));
            // Whoever confirms too late does not keep what is about to go.
            assert!(!trial.confirm(late) && trial.undo(late));
            assert_eq!((trial.in_force(), trial.left(late)), (kept, None));
            assert!(!trial.undo(late));
            assert!(trial.change(other, late) && trial.confirm(late));
            assert!(!trial.undo(late + CONFIRM_WITHIN));
            assert_eq!(trial, Trial { changed: Some(late), ..Trial::of(other) });
        }
    }

    #[test]
    fn a_trial_is_taken_back_and_begins_anew() {
        let now = Instant::now();
        let mut trial = Trial::of(Reach::Private);
        assert!(trial.change(Reach::Everybody, now));
        // Too soon, and then again from the beginning.
        assert!(!trial.change(Reach::Private, now) && trial.in_force().is_public());
        let later = now + Duration::from_secs(30);
        assert!(!trial.change(Reach::Everybody, later));
        assert_eq!(trial.left(later), Some(CONFIRM_WITHIN));
        assert!(trial.change(Reach::Private, later + PAUSE));
        assert!(!trial.in_force().is_public() && !trial.undo(later + 2 * CONFIRM_WITHIN));
        assert!(trial.change(Reach::Everybody, later + 2 * PAUSE) && trial.give_up() && !trial.give_up());
        assert!(!trial.in_force().is_public());
    }

    #[test]
    fn words_are_told_apart() {
        for reach in ALL {
            assert_eq!((Reach::parse(reach.word()), Reach::of(reach.is_public())), (Some(reach), reach));
        }
        assert_eq!(Reach::parse("nobody"), None);
    }
}

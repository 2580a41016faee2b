//! A change of the firewall may lock its owner out: it is undone unless it is confirmed in time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A change that nobody confirms lasts this long.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(60);

/// Sooner after the one before, no trial begins: whoever took the node over must not keep PID 1 busy.
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

    /// Whether somebody from there may come: the ranges of the firewall.
    pub fn lets_in(self, address: IpAddr) -> bool {
        let local = match address.to_canonical() {
            IpAddr::V4(address) => address.is_private() || address.is_link_local() || address.is_loopback(),
            IpAddr::V6(address) => {
                address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback()
            }
        };
        self.is_public() || local
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
    /// When the last trial began.
    began: Option<Instant>,
}

impl Trial {
    /// Nothing is tried.
    pub fn of(kept: Reach) -> Self {
        Self { kept, tried: None, began: None }
    }

    /// Which rules belong into the kernel.
    pub fn in_force(&self) -> Reach {
        self.tried.map_or(self.kept, |(tried, _)| tried)
    }

    /// How long what is tried still lasts.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.tried.map(|(_, until)| until.saturating_duration_since(now))
    }

    /// Takes a trial back, or begins one, unless that is too soon.
    pub fn change(&mut self, to: Reach, now: Instant) {
        if to == self.kept {
            self.tried = None;
        } else if self.began.is_none_or(|began| now >= began + PAUSE) {
            self.tried = Some((to, now + CONFIRM_WITHIN));
            self.began = Some(now);
        }
    }

    /// What is tried is kept. Whether there was anything.
    pub fn confirm(&mut self, now: Instant) -> bool {
        let Some((tried, _)) = self.tried.take_if(|(_, until)| now < *until) else { return false };
        self.kept = tried;
        true
    }

    /// Ends a trial that nobody confirmed in time. Whether there was one.
    pub fn undo(&mut self, now: Instant) -> bool {
        self.tried.take_if(|(_, until)| now >= *until).is_some()
    }

    /// What is tried cannot be had.
    pub fn give_up(&mut self) {
        self.tried = None;
    }
}

/// What PID 1 says of it to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Of the wish that it answers; 0 for none.
    pub number: u64,
    /// Whom the rules in the kernel let in.
    pub reach: Reach,
    /// Until that is undone, in seconds, if it is not kept.
    pub left_s: Option<u64>,
}

impl Said {
    /// As a line of words.
    pub fn line(&self) -> String {
        let left = self.left_s.map_or_else(|| "-".to_owned(), |seconds| seconds.to_string());
        format!("{} {} {left}", self.number, self.reach.word())
    }

    /// The other way around.
    pub fn parse(line: &str) -> Option<Self> {
        let [number, reach, left] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let left_s = if left == "-" { None } else { Some(left.parse().ok()?) };
        Some(Self { number: number.parse().ok()?, reach: Reach::parse(reach)?, left_s })
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
            trial.change(kept, now);
            assert_eq!(trial, Trial::of(kept));
            assert!(!trial.confirm(now) && !trial.undo(now + CONFIRM_WITHIN));
            trial.change(other, now);
            assert_eq!((trial.in_force(), trial.left(now)), (other, Some(CONFIRM_WITHIN)));
            let late = now + CONFIRM_WITHIN;
            assert!(!trial.undo(late - Duration::from_millis(1)));
            // Whoever confirms too late does not keep what is about to go.
            assert!(!trial.confirm(late) && trial.undo(late));
            assert_eq!((trial.in_force(), trial.left(late)), (kept, None));
            assert!(!trial.undo(late));
            trial.change(other, late);
            assert!(trial.confirm(late) && !trial.undo(late + CONFIRM_WITHIN));
            assert_eq!(trial, Trial { began: Some(late), ..Trial::of(other) });
        }
    }

    #[test]
    fn a_trial_is_taken_back_at_once_and_begun_anew_in_time() {
        let now = Instant::now();
        let mut trial = Trial::of(Reach::Private);
        trial.change(Reach::Everybody, now);
        // Who thinks better of it does not confirm the other.
        trial.change(Reach::Private, now);
        assert!(!trial.in_force().is_public() && !trial.confirm(now));
        trial.change(Reach::Everybody, now);
        assert!(!trial.in_force().is_public(), "too soon");
        trial.change(Reach::Everybody, now + PAUSE);
        let later = now + Duration::from_secs(30);
        trial.change(Reach::Everybody, later);
        assert_eq!(trial.left(later), Some(CONFIRM_WITHIN));
        trial.give_up();
        assert!(!trial.in_force().is_public() && !trial.undo(later + CONFIRM_WITHIN));
    }

    #[test]
    fn private_addresses_are_told_from_others() {
        for (address, local) in [
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("192.168.1.1", true),
            ("169.254.1.1", true),
            ("127.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("::1", true),
            ("172.32.0.1", false),
            ("203.0.113.1", false),
            ("::ffff:203.0.113.1", false),
            ("2001:db8::1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(Reach::Private.lets_in(address), local, "{address}");
            assert!(Reach::Everybody.lets_in(address), "{address}");
        }
    }

    #[test]
    fn words_are_told_apart() {
        for reach in ALL {
            assert_eq!((Reach::parse(reach.word()), Reach::of(reach.is_public())), (Some(reach), reach));
            for left_s in [None, Some(0), Some(59)] {
                let said = Said { number: 7, reach, left_s };
                assert_eq!(Said::parse(&said.line()), Some(said));
            }
        }
        assert_eq!(Reach::parse("nobody"), None);
        for wrong in ["", "1 private", "1 nobody -", "x private -", "1 private x", "1 private - -"] {
            assert_eq!(Said::parse(wrong), None);
        }
    }
}

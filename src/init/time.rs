//! The board's time: what it rests on, corrected as the time servers say, saved now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Instant;

use super::setup::CLOCK;
use crate::boot::clock::{Clock, Decision, Kind, Sample, Trust};
use crate::config;
use crate::firmware::clock;
use crate::timekeeper::{self, Sources};

/// More samples than sources can be in a round: what a broken child says stays bounded.
const MAX_SAMPLES: usize = 64;

/// See the module.
pub(super) struct Time {
    clock: Clock,
    /// Whether there is a partition to save the time on.
    saving: bool,
    saved: Instant,
    saver: Option<JoinHandle<()>>,
    configured: config::Clock,
    /// Time servers that DHCP named, by link.
    local: BTreeMap<u32, Vec<Ipv4Addr>>,
    samples: Vec<Sample>,
    first_round: Option<Instant>,
}

impl Time {
    /// Raises the clock to the newest time known to have passed.
    pub(super) fn start(saving: bool, configured: config::Clock) -> Self {
        // Written by the image builder.
        let built = std::fs::read_to_string("/etc/built").unwrap_or_default().trim().parse().unwrap_or(0);
        let (clock, raise) = Clock::start(clock::find(built, Path::new(CLOCK)));
        let this = Self {
            clock,
            saving,
            saved: Instant::now(),
            saver: None,
            configured,
            local: BTreeMap::new(),
            samples: Vec::new(),
            first_round: None,
        };
        this.set(raise);
        tracing::info!(trust = clock.trust().text(), "clock");
        this
    }

    fn set(&self, to: Option<u64>) {
        let Some(seconds) = to else { return };
        match clock::set(seconds) {
            Ok(()) => tracing::info!(seconds, "clock set to its floor"),
            Err(error) => tracing::warn!(%error, "clock not set"),
        }
    }

    pub(super) fn trust(&self) -> Trust {
        self.clock.trust()
    }

    /// As configured.
    pub(super) fn configured(&self) -> config::Clock {
        self.configured.clone()
    }

    /// Whom the time child has to ask.
    pub(super) fn sources(&self) -> Sources {
        let mut ntp = self.local.values().flatten().copied().map(IpAddr::V4).collect::<Vec<_>>();
        ntp.truncate(4);
        ntp.extend(self.configured.ntp.iter().copied());
        let mut seen = BTreeSet::new();
        ntp.retain(|server| seen.insert(*server));
        Sources { ntp, https: self.configured.https.clone() }
    }

    /// A link's DHCP server named these; gives whether that is news.
    pub(super) fn named(&mut self, link: u32, servers: Vec<Ipv4Addr>) -> bool {
        self.local.insert(link, servers.clone()) != Some(servers)
    }

    /// The time child said a line; gives what to answer at the end of a round.
    pub(super) fn said(&mut self, line: &str, now: Instant) -> Option<&'static str> {
        if line == "round" {
            let samples = std::mem::take(&mut self.samples);
            return Some(if self.judge(&samples, now) { timekeeper::ACCEPTED } else { timekeeper::REFUSED });
        }
        if let Some(sample) = timekeeper::parse_sample(line)
            && self.samples.len() < MAX_SAMPLES
        {
            self.samples.push(sample);
        }
        None
    }

    /// Gives whether the round confirmed the time.
    fn judge(&mut self, samples: &[Sample], now: Instant) -> bool {
        let waited = now.saturating_duration_since(*self.first_round.get_or_insert(now));
        let local = self.local.values().flatten().copied().map(IpAddr::V4).collect::<Vec<_>>();
        let before = self.clock.trust();
        let judged =
            self.clock.judge(samples, |source| local.contains(&source), clock::now(), waited.as_secs());
        let done = match judged {
            Ok(Decision::Keep) => clock::slew(0),
            Ok(Decision::Slew(offset)) => clock::slew(offset),
            Ok(Decision::Step(offset)) => {
                tracing::info!(seconds = offset as f64 / 1e9, "clock stepped");
                clock::step(offset)
            }
            Err(error) => {
                let of = |kind: Kind| samples.iter().filter(|sample| sample.kind == kind).count();
                let (ntp, https) = (of(Kind::Ntp), of(Kind::Https));
                tracing::debug!(%error, ntp, https, "time not confirmed");
                // What was being made up for may be done by now.
                let _ = clock::slew(0);
                return false;
            }
        };
        if let Err(error) = done {
            tracing::warn!(%error, "clock not set");
        }
        if self.clock.trust() != before {
            tracing::info!(trust = self.clock.trust().text(), "clock");
            self.save();
        }
        true
    }

    /// The node confirmed a milestone of this time. `own` tells whether this board issued it: then it proves
    /// nothing about the time.
    pub(super) fn milestone(&mut self, timestamp: u64, own: bool) {
        if !own {
            let raise = self.clock.milestone(timestamp, clock::now());
            self.set(raise);
        }
    }

    /// Saves the time when that is due.
    pub(super) fn tend(&mut self) {
        if self.saved.elapsed() >= clock::SAVE_EVERY {
            self.save();
        }
    }

    /// Saves the time for the next start.
    pub(super) fn save(&mut self) {
        self.saved = Instant::now();
        if !self.saving {
            return;
        }
        // On a thread of its own: a disk that hangs must not stop who feeds the watchdog.
        if self.saver.as_ref().is_some_and(|saver| !saver.is_finished()) {
            return;
        }
        let times = self.clock.to_save(clock::now());
        self.saver = Some(std::thread::spawn(move || {
            if let Err(error) = clock::save(Path::new(CLOCK), times) {
                tracing::warn!(%error, "time not saved");
            }
        }));
    }

    /// Whether what was last saved is on the disk.
    pub(super) fn is_saved(&self) -> bool {
        self.saver.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Nothing can be written any more.
    pub(super) fn stop_saving(&mut self) {
        self.saving = false;
    }
}

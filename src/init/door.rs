//! Who reaches the REST API: as the owner wrote it, as he changed it since, or as he tries it.

use std::fs;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::{Event, network, setup};
use crate::boot::trial::{Reach, Said, Trial};
use crate::config::Config;
use crate::files;
use crate::firmware::firewall;
use crate::protocol::{blake2b_256, hex};

/// See the module. The rules in the kernel, and `rest_public` of the configuration, follow it.
pub(super) struct Door {
    trial: Trial,
    /// What the kernel holds for certain.
    loaded: Option<Reach>,
    /// Of the `node.toml` that what is kept belongs to.
    digest: String,
    /// What is confirmed is being written.
    writing: bool,
}

impl Door {
    /// What holds at a start: what was confirmed last, unless the owner changed his `text` since.
    pub(super) fn new(config: &mut Config, text: &str) -> Self {
        let digest = hex::encode(&blake2b_256(text.as_bytes()));
        let kept = fs::read_to_string(setup::DOOR).ok();
        let kept = kept.as_deref().and_then(|kept| kept.split_once(' ')).filter(|(_, of)| *of == digest);
        let kept = kept.and_then(|(word, _)| Reach::parse(word));
        let trial = Trial::of(kept.unwrap_or(Reach::of(config.rest_public)));
        let mut door = Self { trial, loaded: None, digest, writing: false };
        door.load(config);
        door
    }

    /// What the node says for its owner, with a number: whom to let in, or that it is to stay so. What is answered at once.
    pub(super) fn said(
        &mut self,
        (number, wish): (u64, &str),
        config: &mut Config,
        now: Instant,
        events: &SyncSender<Event>,
    ) -> Option<Said> {
        if wish == "confirm" {
            // One at a time, so that the last one is what stands there.
            if !self.writing && self.trial.confirm(now) {
                self.keep(number, events);
                return None;
            }
        } else if let Some(reach) = Reach::parse(wish) {
            self.trial.change(reach, now);
            self.load(config);
        }
        Some(self.state(number, now))
    }

    /// Undoes what nobody confirmed, and loads what could not be loaded. Whether anything changed.
    pub(super) fn tend(&mut self, config: &mut Config, now: Instant) -> bool {
        if self.trial.undo(now) {
            tracing::warn!("nobody confirmed the change of the firewall: undone");
        }
        let before = self.loaded;
        self.load(config);
        self.loaded != before
    }

    fn load(&mut self, config: &mut Config) {
        if self.loaded == Some(self.trial.in_force()) {
            return;
        }
        config.rest_public = self.trial.in_force().is_public();
        self.loaded = match network::open_ports(Some(config)) {
            Ok(()) => Some(self.trial.in_force()),
            Err(error) => {
                // What is in force is not known for certain: closed rather than open, until the next turn.
                tracing::error!(%error, "firewall not loaded; it is closed");
                self.trial.give_up();
                if let Err(error) = firewall::apply_firewall(&[]) {
                    tracing::error!(%error, "nor can it be closed");
                }
                None
            }
        };
    }

    /// On a thread of its own: a disk that hangs must not hold PID 1 up.
    fn keep(&mut self, number: u64, events: &SyncSender<Event>) {
        let (word, events) = (self.trial.in_force().word(), events.clone());
        let line = format!("{word} {}", self.digest);
        self.writing = true;
        std::thread::spawn(move || {
            let written = files::write_atomic(Path::new(setup::DOOR), line.as_bytes(), 0o600);
            match &written {
                Ok(()) => tracing::info!(rest = word, "the change of the firewall is confirmed"),
                Err(error) => tracing::warn!(%error, "the change of the firewall lasts until the next start"),
            }
            // PID 1 may be ending.
            let _ = events.send(Event::Door { number, kept: written.is_ok() });
        });
    }

    /// What was confirmed is written, or could not be.
    pub(super) fn kept(&mut self, number: u64, kept: bool, now: Instant) -> Said {
        self.writing = false;
        let state = self.state(number, now);
        // It lasts, but not beyond this run.
        if kept { state } else { Said { left_s: Some(0), ..state } }
    }

    /// For the node; an answer to a wish has its number.
    pub(super) fn state(&self, number: u64, now: Instant) -> Said {
        let left_s = self.trial.left(now).as_ref().map(Duration::as_secs);
        Said { number, reach: self.trial.in_force(), left_s }
    }

    /// For the status page.
    pub(super) fn text(&self, config: &Config, now: Instant) -> String {
        if self.loaded.is_none() {
            return "closed: its rules could not be loaded".to_owned();
        }
        if config.rest_bind.ip().is_loopback() {
            return "the API is for this board alone".to_owned();
        }
        let who = match self.trial.in_force() {
            Reach::Private => "private addresses reach the API",
            Reach::Everybody => "everybody reaches the API",
        };
        match self.trial.left(now) {
            Some(left) => format!("{who}, for {} s unless that is confirmed", left.as_secs()),
            None => who.to_owned(),
        }
    }
}

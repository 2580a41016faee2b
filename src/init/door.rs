//! Who reaches the REST API: as the owner wrote it, as he changed it since, or as he tries it.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::{network, setup};
use crate::boot::trial::{Reach, Trial};
use crate::config::Config;
use crate::files;

/// See the module. The rules in the kernel, and `rest_public` of the configuration, follow it.
pub(super) struct Door {
    trial: Trial,
}

impl Door {
    /// What holds at a start. What the owner writes anew, as `changed` says, counts more than what he changed before.
    pub(super) fn new(config: &mut Config, changed: bool) -> Self {
        if changed {
            let _ = fs::remove_file(setup::DOOR);
        }
        let kept = fs::read_to_string(setup::DOOR).ok().and_then(|word| Reach::parse(word.trim()));
        let trial = Trial::of(kept.unwrap_or(Reach::of(config.rest_public)));
        config.rest_public = trial.in_force().is_public();
        Self { trial }
    }

    /// What the node says for its owner: whom to let in, or that it is to stay so.
    pub(super) fn said(&mut self, wish: &str, config: &mut Config, now: Instant) {
        if wish == "confirm" {
            if self.trial.confirm(now) {
                self.keep();
            }
        } else if let Some(reach) = Reach::parse(wish)
            && self.trial.change(reach, now)
        {
            self.load(config);
        }
    }

    /// Undoes what nobody confirmed.
    pub(super) fn tend(&mut self, config: &mut Config, now: Instant) {
        if self.trial.undo(now) {
            tracing::warn!("nobody confirmed the change of the firewall: undone");
            self.load(config);
        }
    }

    fn load(&mut self, config: &mut Config) {
        config.rest_public = self.trial.in_force().is_public();
        let loaded = network::open_ports(Some(config));
        if let Err(error) = loaded {
            tracing::error!(%error, "firewall not changed");
            // What is in force is not known for certain when it does not read back.
            if self.trial.give_up() {
                self.load(config);
            }
        }
    }

    /// On a thread of its own: a disk that hangs must not hold PID 1 up.
    fn keep(&self) {
        let word = self.trial.in_force().word();
        std::thread::spawn(move || {
            match files::write_atomic(Path::new(setup::DOOR), word.as_bytes(), 0o644) {
                Ok(()) => tracing::info!(rest = word, "the change of the firewall is confirmed"),
                Err(error) => {
                    tracing::warn!(%error, "the change of the firewall is forgotten at the next start");
                }
            }
        });
    }

    /// For the status page.
    pub(super) fn text(&self, config: &Config, now: Instant) -> String {
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

//! Orders to end: signals, Ctrl-Alt-Del, the power button.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Event;
use crate::firmware::power::End;

/// `struct input_event` on a 64-bit kernel: time (16 bytes), type u16, code u16, value i32.
const EVENT_BYTES: usize = 24;
/// `EV_KEY` (linux/input-event-codes.h).
const EV_KEY: u16 = 1;
/// `KEY_POWER`.
const KEY_POWER: u16 = 116;

/// Listens on threads of their own.
pub(super) fn listen(events: &SyncSender<Event>) {
    match Signals::new([SIGCHLD, SIGINT, SIGTERM]) {
        Ok(signals) => {
            let events = events.clone();
            std::thread::spawn(move || listen_signals(signals, &events));
        }
        Err(error) => tracing::error!(%error, "signals are not heard"),
    }
    let events = events.clone();
    std::thread::spawn(move || {
        let mut heard = BTreeSet::new();
        // Devices appear when their modules are loaded, or are plugged in.
        loop {
            for device in input_devices().into_iter().filter(|device| heard.insert(device.clone())) {
                let events = events.clone();
                std::thread::spawn(move || listen_button(&device, &events));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    });
}

/// How often new input devices are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

fn listen_signals(mut signals: Signals, events: &SyncSender<Event>) {
    for signal in signals.forever() {
        let event = match signal {
            SIGCHLD => Event::Child,
            // The kernel sends SIGINT for Ctrl-Alt-Del.
            SIGINT => Event::Order(End::Restart),
            _ => Event::Order(End::PowerOff),
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

fn input_devices() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(Path::new("/dev/input")) else { return Vec::new() };
    let names = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("event"));
    names.map(|entry| entry.path()).collect()
}

fn listen_button(device: &Path, events: &SyncSender<Event>) {
    let mut event = [0; EVENT_BYTES];
    let Ok(mut device) = File::open(device) else { return };
    while device.read_exact(&mut event).is_ok() {
        let number = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
        let pressed = event[20] != 0;
        if number(16) == EV_KEY && number(18) == KEY_POWER && pressed {
            tracing::info!("power button pressed");
            if events.send(Event::Order(End::PowerOff)).is_err() {
                return;
            }
        }
    }
}

//! The hardware watchdog: a device that resets the board unless it is written to in time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use super::ioctl;

/// The opened device; it counts from the opening on, also after this value is dropped.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
}

impl Watchdog {
    /// Opens the device, which starts it. `Ok(None)` when the board has none (yet).
    ///
    /// # Errors
    /// The device cannot be opened. One that refuses the time-out runs with its own.
    pub fn open(seconds: u32) -> io::Result<Option<Self>> {
        let device = match OpenOptions::new().write(true).open("/dev/watchdog") {
            Ok(device) => device,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        match ioctl::set_watchdog_timeout(&device, seconds) {
            Ok(seconds) => tracing::info!(seconds, "watchdog started"),
            Err(error) => tracing::warn!(%error, "watchdog started with its own time-out"),
        }
        Ok(Some(Self { device }))
    }

    /// Gives the board another time-out to live.
    pub fn feed(&mut self) {
        if let Err(error) = self.device.write_all(b"\0") {
            tracing::warn!(%error, "watchdog not fed");
        }
    }

    /// Stops the watchdog: for switching off, where nobody is left to feed it.
    pub fn disarm(mut self) {
        // The letter tells the driver that the closing is meant.
        if let Err(error) = self.device.write_all(b"V") {
            tracing::warn!(%error, "watchdog not stopped");
        }
    }
}

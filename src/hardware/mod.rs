//! What one can see and touch, through embedded-hal: light, display, button; and how the machine is doing.

pub mod display;
pub mod heat;
pub mod light;
pub mod line;
pub mod machine;
pub mod panel;

use embedded_hal::digital;

/// Why a pin could not be set or read: embedded-hal knows no more than that.
#[derive(Debug)]
pub struct PinError<E>(E);

impl<E: std::fmt::Debug> digital::Error for PinError<E> {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}

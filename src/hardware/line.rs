//! A GPIO line of the kernel's character device (uAPI 2) as an embedded-hal pin, and a button on one.

use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use embedded_hal::digital::{self, InputPin};
use gpiocdev::Request;
use gpiocdev::line::{Bias, EdgeDetection, EdgeKind};

use super::PinError;
use crate::boot::button::{Button, Wish};

/// Contacts bounce for some milliseconds.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// How often a held button is looked at.
const TICK: Duration = Duration::from_millis(100);

/// An input line: high while the button is pressed.
#[derive(Debug)]
pub struct Line(Request);

impl digital::ErrorType for Line {
    type Error = PinError<gpiocdev::Error>;
}

impl InputPin for Line {
    fn is_high(&mut self) -> Result<bool, PinError<gpiocdev::Error>> {
        self.0.lone_value().map(bool::from).map_err(PinError)
    }

    fn is_low(&mut self) -> Result<bool, PinError<gpiocdev::Error>> {
        self.is_high().map(|high| !high)
    }
}

impl Line {
    /// Takes a line for a button to ground. Numbers of chips mean nothing: `chip` is the label.
    ///
    /// # Errors
    /// There is no such chip or line, or somebody has it.
    pub fn button(chip: &str, line: u32) -> gpiocdev::Result<Self> {
        let labelled = |path: &std::path::PathBuf| {
            let info = gpiocdev::chip::Chip::from_path(path).and_then(|chip| chip.info());
            info.is_ok_and(|info| info.label == chip)
        };
        let path = gpiocdev::chip::chips()?.into_iter().find(labelled);
        let path = path.ok_or_else(|| gpiocdev::Error::InvalidArgument(format!("no chip {chip:?}")))?;
        let request = Request::builder()
            .on_chip(path)
            .with_consumer("osmia")
            .with_line(line)
            .as_input()
            .as_active_low()
            .with_bias(Bias::PullUp)
            .with_edge_detection(EdgeDetection::BothEdges)
            .with_debounce_period(DEBOUNCE)
            .request()?;
        Ok(Self(request))
    }
}

/// Listens to a button for ever; tells what its owner wants.
pub fn listen<T: From<Wish>>(line: &Line, wishes: &SyncSender<T>) {
    let mut button = Button::default();
    loop {
        let wish = match line.0.wait_edge_event(TICK) {
            Ok(true) => match line.0.read_edge_event().map(|event| event.kind) {
                Ok(EdgeKind::Rising) => {
                    button.pressed(Instant::now());
                    None
                }
                Ok(EdgeKind::Falling) => button.released(Instant::now()),
                Err(_) => None,
            },
            Ok(false) => button.tick(Instant::now()),
            // Interrupted by a signal.
            Err(_) => {
                std::thread::sleep(TICK);
                None
            }
        };
        if let Some(wish) = wish
            && wishes.send(T::from(wish)).is_err()
        {
            return;
        }
    }
}

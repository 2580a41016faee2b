//! Light and display, shown from a thread of their own: what is missing is looked for again, now and then.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use linux_embedded_hal::I2cdev;

use super::display::{self, Display};
use super::light::{self, ClassLight};
use crate::boot::button::CONFIRM_WITHIN;
use crate::boot::status::Status;

/// The shortest step of a pattern.
const TURN: Duration = Duration::from_millis(50);

/// How often a missing light is looked for: the kernel has a pattern of its own, which means nothing here.
const LOOK_FOR_LIGHT: Duration = Duration::from_secs(1);

/// How often a missing display is looked for: a bus that nobody answers on may take seconds.
const LOOK_FOR_DISPLAY: Duration = Duration::from_secs(10);

/// Organic dots fade: the display goes dark when nothing has to be seen for this long.
const AWAKE: Duration = Duration::from_secs(300);

/// What the panel is told.
#[derive(Debug)]
pub enum Message {
    /// The board's status changed.
    Status(Box<Status>),
    /// Somebody wants to see it.
    Wake,
    /// Somebody must confirm that everything is to be deleted.
    Ask,
}

/// Starts the panel. `led` is a light below `/sys/class/leds`, `bus` the device-tree node of an I2C bus.
pub fn start(led: Option<&str>, bus: Option<&str>) -> Sender<Message> {
    let (sender, messages) = mpsc::channel();
    let led = led.map(|name| Path::new("/sys/class/leds").join(name));
    let mut panel = Panel { led, bus: bus.map(str::to_owned), light: None, display: None, looked: [None; 2] };
    std::thread::spawn(move || {
        let started = Instant::now();
        let mut status = Status::default();
        let mut awake = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            match messages.recv_timeout(TURN) {
                Ok(Message::Status(new)) => {
                    if new.state != status.state || new.why != status.why {
                        awake = Instant::now();
                    }
                    status = *new;
                }
                Ok(Message::Wake) => (awake, asked) = (Instant::now(), None),
                Ok(Message::Ask) => (awake, asked) = (Instant::now(), Some(Instant::now())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            panel.look();
            let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(0);
            let asks = asked.is_some_and(|asked| asked.elapsed() < CONFIRM_WITHIN);
            panel.show(&status, ms, asks, awake.elapsed() < AWAKE);
        }
    });
    sender
}

struct Panel {
    led: Option<PathBuf>,
    bus: Option<String>,
    light: Option<ClassLight>,
    display: Option<Display<I2cdev>>,
    /// When light and display were last looked for.
    looked: [Option<Instant>; 2],
}

impl Panel {
    fn look(&mut self) {
        let due = |looked: Option<Instant>, every| looked.is_none_or(|looked| looked.elapsed() >= every);
        let [light, display] = self.looked;
        if self.light.is_none() && due(light, LOOK_FOR_LIGHT) {
            self.looked[0] = Some(Instant::now());
            self.light = self.led.as_deref().and_then(|folder| ClassLight::take(folder).ok());
        }
        if self.display.is_none() && due(display, LOOK_FOR_DISPLAY) {
            self.looked[1] = Some(Instant::now());
            let Some(bus) = self.bus.as_deref().and_then(bus_with_node) else { return };
            self.display = I2cdev::new(bus).ok().and_then(|bus| Display::start(bus).ok());
            if self.display.is_some() {
                tracing::info!("display found");
            }
        }
    }

    fn show(&mut self, status: &Status, ms: u64, asks: bool, awake: bool) {
        let pattern = if asks { light::ASKING } else { light::pattern(status.state) };
        if let Some(light) = &mut self.light
            && light::show(light, pattern, ms).is_err()
        {
            self.light = None;
        }
        let lines = match (asks, awake) {
            (true, _) => display::question(),
            (false, true) => display::lines(status),
            (false, false) => Default::default(),
        };
        if let Some(display) = &mut self.display
            && display.show(&lines).is_err()
        {
            tracing::info!("display gone");
            self.display = None;
        }
    }
}

/// Device of the bus whose node in the device tree has this name: numbers of buses mean nothing.
fn bus_with_node(node: &str) -> Option<PathBuf> {
    let buses = fs::read_dir("/sys/class/i2c-dev").ok()?.flatten();
    let named = |entry: &fs::DirEntry| {
        fs::canonicalize(entry.path().join("device/of_node")).is_ok_and(|path| path.ends_with(node))
    };
    let bus = buses.into_iter().find(named)?;
    Some(Path::new("/dev").join(bus.file_name()))
}

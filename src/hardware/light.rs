//! The activity light: a pattern for each of the six states, through embedded-hal.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use embedded_hal::digital::{self, OutputPin, PinState};

use super::PinError;
use crate::boot::status::State;

/// A step of a pattern: so many milliseconds on, then so many off.
pub type Step = (u32, u32);

/// Printed on the card in the README.
pub fn pattern(state: State) -> &'static [Step] {
    match state {
        // Even, fast.
        State::Starting => &[(100, 100)],
        // Lit, with a wink: a light that only shines would shine on for a dead board, too.
        State::Healthy => &[(1_900, 100)],
        // Even, slow.
        State::Unhealthy => &[(500, 500)],
        // Three flashes.
        State::NeedsOwner => &[(150, 150), (150, 150), (150, 1_150)],
        // Two flashes.
        State::Failing => &[(150, 150), (150, 1_550)],
        // One short flash.
        State::Stopping => &[(50, 950)],
    }
}

/// Asks whether everything is to be deleted: as fast as can be seen.
pub const ASKING: &[Step] = &[(50, 50)];

/// Whether the light is on, `ms` milliseconds into a pattern that repeats.
pub fn is_on(pattern: &[Step], ms: u64) -> bool {
    let length = pattern.iter().map(|(on, off)| u64::from(on + off)).sum::<u64>().max(1);
    let mut left = ms % length;
    for (on, off) in pattern {
        let step = u64::from(on + off);
        if left < step {
            return left < u64::from(*on);
        }
        left -= step;
    }
    false
}

/// Shows a pattern at a point in time.
///
/// # Errors
/// Those of the pin.
pub fn show<P: OutputPin>(pin: &mut P, pattern: &[Step], ms: u64) -> Result<(), P::Error> {
    pin.set_state(PinState::from(is_on(pattern, ms)))
}

/// A light that the kernel drives, below `/sys/class/leds`: the only way where the device tree claims its line.
#[derive(Debug)]
pub struct ClassLight {
    brightness: File,
    most: String,
}

impl ClassLight {
    /// Takes a light over from the kernel's own pattern.
    ///
    /// # Errors
    /// There is no such light.
    pub fn take(folder: &Path) -> io::Result<Self> {
        fs::write(folder.join("trigger"), "none")?;
        let most = fs::read_to_string(folder.join("max_brightness"))?.trim().to_owned();
        Ok(Self { brightness: File::options().write(true).open(folder.join("brightness"))?, most })
    }
}

impl digital::ErrorType for ClassLight {
    type Error = PinError<io::Error>;
}

impl OutputPin for ClassLight {
    fn set_low(&mut self) -> Result<(), PinError<io::Error>> {
        self.brightness.write_all_at(b"0", 0).map_err(PinError)
    }

    fn set_high(&mut self) -> Result<(), PinError<io::Error>> {
        self.brightness.write_all_at(self.most.as_bytes(), 0).map_err(PinError)
    }
}

#[cfg(test)]
mod tests {
    use embedded_hal_mock::eh1::digital::{Mock, State as Level, Transaction};

    use super::{ClassLight, is_on, pattern, show};
    use crate::boot::status::State;

    const STATES: [State; 6] = [
        State::Starting,
        State::Healthy,
        State::Unhealthy,
        State::NeedsOwner,
        State::Failing,
        State::Stopping,
    ];

    #[test]
    fn the_six_states_look_different() {
        let seen = |state| (0..4_000).step_by(10).map(|ms| is_on(pattern(state), ms)).collect::<Vec<_>>();
        for (index, state) in STATES.into_iter().enumerate() {
            let flashes = seen(state).windows(2).filter(|pair| !pair[0] && pair[1]).count();
            assert!(flashes >= 1, "{state:?} looks like a dead board");
            for other in &STATES[index + 1..] {
                assert_ne!(seen(state), seen(*other), "{state:?} and {other:?}");
            }
        }
    }

    #[test]
    fn a_pattern_is_shown_through_the_pin() {
        let high = Transaction::set(Level::High);
        let low = Transaction::set(Level::Low);
        let mut pin = Mock::new(&[high.clone(), low.clone(), high.clone(), low.clone(), low]);
        for ms in [0, 150, 300, 450, 1_999] {
            show(&mut pin, pattern(State::Failing), ms).unwrap();
        }
        pin.done();
    }

    #[test]
    fn a_light_of_the_kernel_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("trigger", "[heartbeat] none\n"), ("max_brightness", "255\n"), ("brightness", "0\n")]
        {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut light = ClassLight::take(folder.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("trigger"), "none");
        show(&mut light, pattern(State::Healthy), 0).unwrap();
        assert!(read("brightness").starts_with("255"));
        show(&mut light, pattern(State::Healthy), 1_950).unwrap();
        assert!(read("brightness").starts_with('0'));
    }
}

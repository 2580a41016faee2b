//! A display of 128 × 64 dots (SSD1306) on I2C, through embedded-hal: eight lines of sixteen characters.
//!
//! Each command and each of its arguments is a transfer of its own, and each line is addressed anew: displays that
//! only resemble the SSD1306 understand that, too.

use std::fmt::Write as _;

use embedded_hal::i2c::I2c;
use font8x8::legacy::BASIC_LEGACY;

use crate::boot::status::Status;

/// Where displays answer: most are built so.
pub const ADDRESS: u8 = 0x3c;

const COLUMNS: usize = 16;
const LINES: usize = 8;

/// Before a byte that is a command, before bytes that are dots.
const COMMAND: u8 = 0x80;
const DATA: u8 = 0x40;

/// Off; clock, height, offset, first line; charge pump on; page addressing; mirrored both ways, as displays are
/// mounted; common pins, contrast, charge, level; memory shown, not inverted. Datasheet, sections 10 and 3 (page 64).
const START: [u8; 25] = [
    0xae, 0xd5, 0x80, 0xa8, 0x3f, 0xd3, 0x00, 0x40, 0x8d, 0x14, 0x20, 0x02, 0xa1, 0xc8, 0xda, 0x12, 0x81,
    0x7f, 0xd9, 0xf1, 0xdb, 0x40, 0xa4, 0xa6, 0xaf,
];

/// A line of text; what does not fit is left out.
pub type Line = heapless::String<COLUMNS>;

/// The display, started.
#[derive(Debug)]
pub struct Display<B> {
    bus: B,
    shown: [Option<Line>; LINES],
}

impl<B: I2c> Display<B> {
    /// Starts a display.
    ///
    /// # Errors
    /// Those of the bus: there may be none.
    pub fn start(mut bus: B) -> Result<Self, B::Error> {
        for command in START {
            bus.write(ADDRESS, &[COMMAND, command])?;
        }
        Ok(Self { bus, shown: [const { None }; LINES] })
    }

    /// Shows lines; those that stand there already are not sent again.
    ///
    /// # Errors
    /// Those of the bus.
    pub fn show(&mut self, lines: &[Line; LINES]) -> Result<(), B::Error> {
        for (page, line) in (0..).zip(lines) {
            let shown = &mut self.shown[usize::from(page)];
            if shown.as_ref() != Some(line) {
                for command in [0xb0 | page, 0x00, 0x10] {
                    self.bus.write(ADDRESS, &[COMMAND, command])?;
                }
                self.bus.write(ADDRESS, &dots(line))?;
                *shown = Some(line.clone());
            }
        }
        Ok(())
    }
}

/// What is sent for a line: a byte for each column, top dot in the lowest bit, behind the byte that says so.
pub fn dots(line: &str) -> heapless::Vec<u8, { 1 + 8 * COLUMNS }> {
    let mut bytes = heapless::Vec::new();
    let mut push = |byte| {
        // There is room for a whole line.
        let _ = bytes.push(byte);
    };
    push(DATA);
    for letter in line.chars().chain(std::iter::repeat(' ')).take(COLUMNS) {
        let known = u32::from(letter) as usize;
        let rows = BASIC_LEGACY.get(known).unwrap_or(&BASIC_LEGACY[usize::from(b'?')]);
        for column in 0..8 {
            push((0..8).fold(0, |byte, row| byte | ((rows[row] >> column) & 1) << row));
        }
    }
    bytes
}

/// What is shown of a board's status.
pub fn lines(status: &Status) -> [Line; LINES] {
    let address = status.addresses.first().map_or("no address", String::as_str);
    let milestone = status.confirmed_milestone.map_or_else(String::new, |index| format!("ms {index}"));
    let mut degrees = status.temperature_c.map_or_else(String::new, |degrees| format!("{degrees} C "));
    if let Some(spare) = status.spare_hashes_per_s {
        degrees.push_str(&format!("{} kH/s", spare / 1_000));
    }
    let state = status.state.text();
    let (first, second) = state.split_at_checked(COLUMNS).unwrap_or((state, ""));
    let why = |from: usize| status.why.chars().skip(from * COLUMNS).take(COLUMNS).collect::<String>();
    [address, first, second.trim_start(), &milestone, &degrees, &why(0), &why(1), &why(2)].map(line)
}

/// Whether everything is to be deleted.
pub fn question() -> [Line; LINES] {
    ["FACTORY RESET?", "", "Press shortly to", "delete all data.", "", "Press for long", "or wait: no.", ""]
        .map(line)
}

/// Cuts a text to a line.
fn line(text: &str) -> Line {
    let mut line = Line::new();
    for letter in text.chars() {
        if line.write_char(letter).is_err() {
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use super::{ADDRESS, Display, START, dots, line, lines};
    use crate::boot::status::{State, Status};

    fn start() -> Vec<Transaction> {
        START.iter().map(|command| Transaction::write(ADDRESS, vec![0x80, *command])).collect()
    }

    fn page(number: u8, text: &str) -> Vec<Transaction> {
        let commands =
            [0xb0 | number, 0x00, 0x10].map(|command| Transaction::write(ADDRESS, vec![0x80, command]));
        commands.into_iter().chain([Transaction::write(ADDRESS, dots(text).to_vec())]).collect()
    }

    #[test]
    fn only_lines_that_change_are_sent() {
        let mut status = Status::default();
        status.addresses.push("192.168.178.123".to_owned());
        let first = lines(&status);
        status.tell(State::Healthy, "", "");
        let second = lines(&status);
        let mut expected = start();
        (0..).zip(&first).for_each(|(number, line)| expected.extend(page(number, line)));
        expected.extend(page(1, "healthy"));
        let mut bus = Mock::new(&expected);
        let mut display = Display::start(bus.clone()).unwrap();
        display.show(&first).unwrap();
        display.show(&second).unwrap();
        bus.done();
    }

    #[test]
    fn without_a_display_the_start_fails() {
        let nobody = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        let mut bus = Mock::new(&[Transaction::write(ADDRESS, vec![0x80, 0xae]).with_error(nobody)]);
        assert!(Display::start(bus.clone()).is_err());
        bus.done();
    }

    #[test]
    fn letters_are_those_of_the_font() {
        let dots = dots("!");
        assert_eq!(dots.len(), 129);
        assert_eq!(dots[..9], [0x40, 0, 0, 6, 95, 95, 6, 0, 0]);
        assert_eq!(super::dots("\u{fc}")[1..9], super::dots("?")[1..9]);
    }

    #[test]
    fn long_texts_are_cut_at_whole_letters() {
        assert_eq!(line("0123456789abcdefghi"), "0123456789abcdef");
        assert_eq!(line("\u{e4}".repeat(20).as_str()).chars().count(), 8);
        let mut status = Status::default();
        status.tell(State::Failing, &"w".repeat(100), "");
        assert!(lines(&status)[5..].iter().all(|line| line.len() == 16));
    }
}

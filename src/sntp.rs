//! The packets of SNTP (RFC 4330, RFC 5905): one question, one answer.
//!
//! Pure (layer L1). The question tells nothing about the board's clock: its time stamp is a random number.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

/// Bytes of a packet without extensions.
pub const PACKET_BYTES: usize = 48;

/// Seconds from 1900 (NTP) to 1970 (Unix).
const UNIX_EPOCH: i128 = 2_208_988_800;

/// Seconds of an NTP era: the next begins in February 2036.
const ERA: i128 = 1 << 32;

const NANOSECONDS: i128 = 1_000_000_000;

/// Why an answer says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too short, no answer of a server, or to another question.
    #[error("not an answer to the question")]
    NoAnswer,
    /// "Kiss of death": the server wants to be left alone.
    #[error("the server refuses")]
    Refused,
    /// The server has no time itself.
    #[error("the server's own clock is not set")]
    Unsynchronised,
}

/// A question, recognised by `nonce` in its answer.
pub fn question(nonce: u64) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    // No leap second known, version 4, client.
    packet[0] = 4 << 3 | 3;
    packet[40..].copy_from_slice(&nonce.to_be_bytes());
    packet
}

/// What a server's clock said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// To be added to the own clock, in nanoseconds.
    pub offset_ns: i64,
    /// On the way there and back, in nanoseconds.
    pub delay_ns: i64,
}

/// Reads an answer. The question left at `sent` and the answer came `took` later, both in nanoseconds, the first
/// since 1970 by the own clock. Of the eras that the server's time may mean, the one nearest to the own clock.
///
/// # Errors
/// [`Error`].
pub fn answer(packet: &[u8], nonce: u64, sent: i128, took: i64) -> Result<Answer, Error> {
    let packet = packet.first_chunk::<PACKET_BYTES>().ok_or(Error::NoAnswer)?;
    let (leap, mode, stratum) = (packet[0] >> 6, packet[0] & 7, packet[1]);
    // RFC 4330 section 5: > originate timestamp field does not match the transmit timestamp sent: discard
    if mode != 4 || packet[24..32] != nonce.to_be_bytes() {
        return Err(Error::NoAnswer);
    }
    if stratum == 0 {
        return Err(Error::Refused);
    }
    // RFC 4330: > LI 3: alarm condition (clock not synchronized); stratum 16 and above: reserved
    if leap == 3 || stratum > 15 || packet[40..48] == [0; 8] {
        return Err(Error::Unsynchronised);
    }
    let time = |at: usize| unix_ns(&packet[at..at + 8], sent);
    let (received, transmitted) = (time(32), time(40));
    let arrived = sent + i128::from(took);
    let offset = ((received - sent) + (transmitted - arrived)) / 2;
    let delay = (i128::from(took) - (transmitted - received)).max(0);
    let narrow = |value: i128| i64::try_from(value).map_err(|_| Error::NoAnswer);
    Ok(Answer { offset_ns: narrow(offset)?, delay_ns: narrow(delay)? })
}

/// Nanoseconds since 1970 of an NTP time stamp, in the era nearest to `near`.
fn unix_ns(stamp: &[u8], near: i128) -> i128 {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | i128::from(*byte));
    let seconds = number(&stamp[..4]) - UNIX_EPOCH;
    let era = (near / NANOSECONDS - seconds + ERA / 2).div_euclid(ERA);
    (seconds + era * ERA) * NANOSECONDS + number(&stamp[4..8]) * NANOSECONDS / (1 << 32)
}

#[cfg(test)]
mod tests {
    use super::{ERA, Error, NANOSECONDS, UNIX_EPOCH, answer, question};

    const NONCE: u64 = 0x0123_4567_89ab_cdef;

    fn stamp(unix_s: i128) -> [u8; 8] {
        let seconds = u32::try_from((unix_s + UNIX_EPOCH).rem_euclid(ERA)).unwrap();
        [seconds.to_be_bytes(), [0x80, 0, 0, 0]].concat().try_into().unwrap()
    }

    /// A server's answer: received and sent half a second after `unix_s`.
    fn packet(unix_s: i128) -> [u8; 48] {
        let mut packet = question(0);
        (packet[0], packet[1]) = (4 << 3 | 4, 2);
        packet[24..32].copy_from_slice(&NONCE.to_be_bytes());
        packet[32..40].copy_from_slice(&stamp(unix_s));
        packet[40..48].copy_from_slice(&stamp(unix_s));
        packet
    }

    #[test]
    fn offset_and_delay_are_those_of_the_rfc() {
        let own = 1_764_000_000;
        // The question took 0.2 s there and back; the server is 10.5 s ahead at half of that.
        let found = answer(&packet(own + 10), NONCE, own * NANOSECONDS, 200_000_000).unwrap();
        assert_eq!(found.offset_ns, 10_400_000_000);
        assert_eq!(found.delay_ns, 200_000_000);
    }

    #[test]
    fn eras_are_told_apart() {
        for own in [1_764_000_000, 2_085_978_495, 2_085_978_497, 2_200_000_000, 6_380_000_000] {
            for apart in [-1_000_000_000, -1, 1, 1_000_000_000] {
                let found = answer(&packet(own + apart), NONCE, own * NANOSECONDS, 0).unwrap();
                assert_eq!(i128::from(found.offset_ns) * 2, apart * 2 * NANOSECONDS + NANOSECONDS);
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let good = packet(1_764_000_000);
        let with = |at: usize, value: u8| {
            let mut packet = good;
            packet[at] = value;
            answer(&packet, NONCE, 0, 0)
        };
        assert_eq!(with(0, 4 << 3 | 3), Err(Error::NoAnswer));
        assert_eq!(with(24, 0xff), Err(Error::NoAnswer));
        assert_eq!(with(1, 0), Err(Error::Refused));
        assert_eq!(with(1, 16), Err(Error::Unsynchronised));
        assert_eq!(with(0, 0xc0 | 4 << 3 | 4), Err(Error::Unsynchronised));
        assert_eq!(answer(&good[..47], NONCE, 0, 0), Err(Error::NoAnswer));
        assert_eq!(answer(&[], NONCE, 0, 0), Err(Error::NoAnswer));
    }
}

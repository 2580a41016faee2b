//! `0x`-prefixed lower-case hex, the text form of bytes in every JSON body (TIP-25).

use super::Error;

/// Renders bytes as `0x…`.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads `0x…`; upper case is accepted, a missing prefix or an odd number of digits is not.
///
/// # Errors
/// [`Error::Malformed`] with the field's name.
pub fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, Error> {
    let malformed = Error::Malformed { field, expected: "hex with the prefix 0x and two digits per byte" };
    let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) else {
        return Err(malformed);
    };
    if digits.len() % 2 != 0 {
        return Err(malformed);
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?))
        .collect::<Option<Vec<u8>>>()
        .ok_or(malformed)
}

/// Reads `0x…` of exactly `N` bytes.
///
/// # Errors
/// [`Error::Malformed`] as [`decode`], [`Error::LengthMismatch`] for another length.
pub fn decode_array<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], Error> {
    let bytes = decode(field, text)?;
    let found = bytes.len();
    bytes.try_into().map_err(|_| Error::LengthMismatch { field, announced: N, found })
}

#[cfg(test)]
mod tests {
    use super::{decode, decode_array, encode};

    #[test]
    fn round_trips_and_refuses_everything_else() {
        assert_eq!(encode(&[0, 0xab, 0xff]), "0x00abff");
        assert_eq!(decode("tag", "0X00aBff").unwrap(), [0, 0xab, 0xff]);
        assert!(decode("tag", "0x").unwrap().is_empty());
        for bad in ["", "00", "0x0", "0xzz", "0x0\u{e9}", "x00"] {
            decode("tag", bad).unwrap_err();
        }
        decode_array::<2>("tag", "0x00").unwrap_err();
    }
}

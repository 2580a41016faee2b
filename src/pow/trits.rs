//! b1t6 (TIP-5): one byte as two groups of three balanced trits, least significant trit first.

/// Trits of one byte.
pub const TRITS_PER_BYTE: usize = 6;

/// The six trits of a byte, each -1, 0 or 1.
pub fn b1t6(byte: u8) -> [i8; TRITS_PER_BYTE] {
    // TIP-5: the byte is read as signed; 364 = 13 + 13 * 27 makes both groups non-negative.
    let value = i16::from(byte.cast_signed()) + 364;
    let mut out = [0; TRITS_PER_BYTE];
    for (group, trits) in [value % 27 - 13, value / 27 - 13].into_iter().zip(out.chunks_exact_mut(3)) {
        trits.copy_from_slice(&balanced(group));
    }
    out
}

/// Three balanced trits of a number in -13..=13.
fn balanced(mut value: i16) -> [i8; 3] {
    [0; 3].map(|_: i8| {
        let digit = (value + 1).rem_euclid(3) - 1;
        value = (value - digit) / 3;
        i8::try_from(digit).expect("a balanced trit is -1, 0 or 1")
    })
}

/// Appends the trits of `bytes` to `out` from trit `at` on.
pub fn write_b1t6(bytes: &[u8], out: &mut [i8], at: usize) {
    for (byte, chunk) in bytes.iter().zip(out[at..].chunks_exact_mut(TRITS_PER_BYTE)) {
        chunk.copy_from_slice(&b1t6(*byte));
    }
}

/// Trits of digest and nonce as rows of bits: four words with the 60 trits of ten bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    /// The trit is 1.
    is_one: [u64; 4],
    /// The trit is not -1.
    is_not_minus: [u64; 4],
}

/// Trits in a word of [`Rows`].
const ROW_TRITS: usize = 60;

/// Both bits of a byte's six trits: "is 1" from bit 0 on, "is not -1" from bit 32 on, the first trit in the lowest.
const BITS: [u64; 256] = {
    let mut bits = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        // As in b1t6, which cannot be asked at compile time.
        let value = if byte < 128 { byte + 364 } else { byte + 108 };
        let mut at = 0;
        while at < TRITS_PER_BYTE {
            let group = if at < 3 { value % 27 } else { value / 27 };
            // 13 more than the group is 111 in balanced ternary: each digit is the trit and 1.
            let digit = group / [1, 3, 9][at % 3] % 3;
            if digit == 2 {
                bits[byte] |= 1 << at;
            }
            if digit != 0 {
                bits[byte] |= 1 << (32 + at);
            }
            at += 1;
        }
        byte += 1;
    }
    bits
};

impl Rows {
    /// The 240 trits of a digest and a nonce, eight bytes a word.
    pub(super) fn new(input: &[u64; 5]) -> Self {
        let mut bytes = [0; 40];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(input) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut rows = Self { is_one: [0; 4], is_not_minus: [0; 4] };
        for (word, bytes) in bytes.as_chunks::<10>().0.iter().enumerate() {
            let five = |bytes: &[u8]| {
                bytes.iter().rev().fold(0, |row, byte| row << TRITS_PER_BYTE | BITS[usize::from(*byte)])
            };
            let (first, last) = (five(&bytes[..5]), five(&bytes[5..]));
            let half = u64::from(u32::MAX);
            rows.is_one[word] = first & half | (last & half) << 30;
            rows.is_not_minus[word] = first >> 32 | last >> 32 << 30;
        }
        rows
    }

    /// Whether each of the 243 trits that are hashed is 1, 64 a word.
    pub(super) fn low(&self) -> [u64; 4] {
        joined(self.is_one)
    }

    /// Whether each is not -1; as is none of those behind them.
    pub(super) fn high(&self) -> [u64; 4] {
        let [first, second, third, last] = joined(self.is_not_minus);
        [first, second, third, last | !0 << (4 * ROW_TRITS - 3 * 64)]
    }
}

fn joined(row: [u64; 4]) -> [u64; 4] {
    [row[0] | row[1] << 60, row[1] >> 4 | row[2] << 56, row[2] >> 8 | row[3] << 52, row[3] >> 12]
}

#[cfg(test)]
mod tests {
    use super::{Rows, b1t6};

    #[test]
    fn rows_hold_the_same_trits() {
        for byte in 0..=u8::MAX {
            let rows = Rows::new(&[u64::from_le_bytes([byte; 8]); 5]);
            for (at, trit) in [byte; 40].into_iter().flat_map(b1t6).enumerate() {
                let bit = |row: [u64; 4]| row[at / 64] >> (at % 64) & 1 == 1;
                assert_eq!(bit(rows.low()), trit == 1, "byte {byte}, trit {at}");
                assert_eq!(bit(rows.high()), trit != -1, "byte {byte}, trit {at}");
            }
            assert_eq!((rows.low()[3] >> 48, rows.high()[3] >> 48), (0, 0xffff));
        }
    }

    #[test]
    fn tip_5_examples() {
        assert_eq!(b1t6(0), [0; 6]);
        assert_eq!(b1t6(1), [1, 0, 0, 0, 0, 0]);
        // -1
        assert_eq!(b1t6(255), [-1, 0, 0, 0, 0, 0]);
        // 127 = 19 + 4 * 27 = (-8) + 5 * 27
        assert_eq!(b1t6(127), [1, 0, -1, -1, -1, 1]);
    }
}

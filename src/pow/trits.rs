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

#[cfg(test)]
mod tests {
    use super::b1t6;

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

//! Damage to block byte strings: the same for a seed for ever, and aimed at what holds a block together.

use osmia::protocol::block::Block;

/// SplitMix64: the same numbers for a seed for ever.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        list.get(self.below(list.len())).copied()
    }
}

/// Places of a block whose change breaks it: counts, lengths, types, the first bytes of sorted entries.
pub(crate) fn tender_places(whole: &[u8]) -> Vec<usize> {
    let mut bytes = whole.to_vec();
    let mut breaks = |at: usize| {
        bytes[at] ^= 0x80;
        let broken = Block::parse(&bytes).is_err();
        bytes[at] ^= 0x80;
        broken
    };
    (0..whole.len()).filter(|at| breaks(*at)).collect()
}

/// Bytes of what stands in lists: reference and signature unlocks, addresses, ids, inputs, native tokens, funds, signatures.
const ENTRIES: [usize; 8] = [3, 34, 32, 35, 70, 90, 97, 98];

/// One or two changes.
pub(crate) fn damage(bytes: &mut Vec<u8>, tender: &[usize], dice: &mut Dice) {
    let before = bytes.len();
    for _ in 0..1 + dice.below(2) {
        let place = |dice: &mut Dice| match dice.pick(tender) {
            Some(at) if dice.below(3) > 0 => at + dice.below(2),
            Some(_) | None => dice.below(before),
        };
        let (at, other, entry) = (place(dice), place(dice), dice.pick(&ENTRIES).unwrap());
        let Some(byte) = bytes.get_mut(at) else { continue };
        match dice.below(12) {
            0 => *byte ^= 1 << dice.below(8),
            1 => *byte = [0, 1, 2, 3, 7, 8, 16, 64, 127, 128, 255][dice.below(11)],
            2 => *byte = byte.wrapping_add(1),
            3 => *byte = byte.wrapping_sub(1),
            4 => *byte = dice.byte(),
            5 => bytes.truncate(at),
            6 => bytes.extend((0..1 + dice.below(9)).map(|_| 0)),
            7 => {
                if let Some(pair) = bytes.get_mut(at..at + 2 * entry) {
                    pair.rotate_left(entry);
                }
            }
            8 | 9 => {
                if let Some(copied) = bytes.get(at..at + entry).map(<[u8]>::to_vec) {
                    bytes.splice(at..at, copied);
                    recount(bytes, at, 1, dice);
                }
            }
            10 => {
                if at + entry <= bytes.len() {
                    bytes.drain(at..at + entry);
                    recount(bytes, at, -1, dice);
                }
            }
            _ => {
                let entry = [1, 4, 8, 32][dice.below(4)];
                if let Some(copied) = bytes.get(other..other + entry).map(<[u8]>::to_vec)
                    && let Some(target) = bytes.get_mut(at..at + entry)
                {
                    target.copy_from_slice(&copied);
                }
            }
        }
    }
    if dice.below(8) > 0 {
        let more = i64::try_from(bytes.len()).unwrap() - i64::try_from(before).unwrap();
        grow_payload(bytes, more);
    }
}

/// Often puts the count in front of a list right.
fn recount(bytes: &mut [u8], list: usize, more: i8, dice: &mut Dice) {
    let width = 1 + dice.below(2);
    if dice.below(4) > 0
        && let Some(count) = list.checked_sub(width).and_then(|at| bytes.get_mut(at))
    {
        *count = count.wrapping_add_signed(more);
    }
}

/// Adds to the length of the payload, where the parents' count says it stands.
pub(crate) fn grow_payload(bytes: &mut [u8], more: i64) {
    let at = bytes.get(1).map_or(0, |count| 2 + 32 * usize::from(*count));
    if let Some(field) = bytes.get_mut(at..at + 4) {
        let length = u32::from_le_bytes((&*field).try_into().unwrap());
        let length = u32::try_from((i64::from(length) + more).max(0)).unwrap_or(u32::MAX);
        field.copy_from_slice(&length.to_le_bytes());
    }
}

//! Merkle tree of block ids (TIP-4): the two roots in every milestone.

use super::blake2b_256;
use super::id::BlockId;

/// Root over `ids` in the order given. O(n) hashes, O(log n) stack.
///
/// The root of none is BLAKE2b-256 of the empty string; a leaf is prefixed by 0, a node by 1; the left
/// subtree has the largest power of two of leaves that is smaller than their number.
pub fn root(ids: &[BlockId]) -> [u8; 32] {
    match ids {
        [] => blake2b_256(&[]),
        [leaf] => {
            let mut bytes = [0; 33];
            bytes[1..].copy_from_slice(&leaf.0);
            blake2b_256(&bytes)
        }
        _ => {
            let (left, right) = ids.split_at(ids.len().next_power_of_two() / 2);
            let mut bytes = [1; 65];
            bytes[1..33].copy_from_slice(&root(left));
            bytes[33..].copy_from_slice(&root(right));
            blake2b_256(&bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::root;
    use crate::protocol::hex;

    #[test]
    fn empty_tree() {
        assert_eq!(
            hex::encode(&root(&[])),
            "0x0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
        );
    }
}

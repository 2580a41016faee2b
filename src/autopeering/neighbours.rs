//! Who becomes a neighbour: the nearest by a hash with a salt, so that nobody can choose to be near (hive.go).

use sha2::{Digest, Sha256};

use super::wire::{Key, SALT_BYTES};

/// A random value that distances depend on for a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Salt {
    pub(super) bytes: [u8; SALT_BYTES],
    /// Unix seconds.
    pub(super) expires: u64,
}

/// A few neighbours, of one direction.
#[derive(Debug, Default)]
pub(super) struct Neighbours(Vec<Key>);

/// hive.go `distance.BySalt`: > the first four bytes of SHA-256(a) xor SHA-256(b and salt), little-endian; a node is the
/// > SHA-256 of its key
pub(super) fn distance(own: &Key, other: &Key, salt: &Salt) -> u32 {
    let one = Sha256::digest(Sha256::digest(own));
    let two = Sha256::digest([&Sha256::digest(other)[..], &salt.bytes].concat());
    let mut first = [0; 4];
    for (at, byte) in first.iter_mut().enumerate() {
        *byte = one[at] ^ two[at];
    }
    u32::from_le_bytes(first)
}

impl Neighbours {
    /// The one to give up for `candidate` when there is no place: `None` when it may not come.
    pub(super) fn place_for(
        &self,
        own: &Key,
        candidate: &Key,
        salt: &Salt,
        most: usize,
    ) -> Option<Option<Key>> {
        if self.0.len() < most {
            return Some(None);
        }
        let furthest = self.0.iter().max_by_key(|key| distance(own, key, salt))?;
        (distance(own, candidate, salt) < distance(own, furthest, salt)).then_some(Some(*furthest))
    }

    pub(super) fn add(&mut self, key: Key) {
        self.0.push(key);
    }

    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let before = self.0.len();
        self.0.retain(|other| other != key);
        self.0.len() < before
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.0.contains(key)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

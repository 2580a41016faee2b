//! Ed25519 signatures (TIP-14), in one place: the rules must be the same on every node.

use ed25519_zebra::{Signature, VerificationKey};

/// Whether a signature is right by the rules of ZIP-215, as HORNET has them: points may be written in more than one way and
/// be of small order, and the equation is multiplied by the cofactor; the scalar has one form only. About 50 us.
pub fn is_valid(public_key: &[u8; 32], signature: &[u8; 64], message: &[u8]) -> bool {
    VerificationKey::try_from(*public_key)
        .and_then(|key| key.verify(&Signature::from(*signature), message))
        .is_ok()
}

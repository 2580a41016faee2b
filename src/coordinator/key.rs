//! The signing key: made at the first start, kept in a file that only the node reads.

use std::path::Path;

use ed25519_zebra::{SigningKey, VerificationKey};

use super::Error;
use super::state::State;
use crate::files;
use crate::protocol::hex;
use crate::protocol::id::MilestoneId;
use crate::protocol::milestone::Signature;

const FILE: &str = "coordinator.key";

/// The secret key. Its `Debug` form shows the public one.
pub(super) struct Key {
    secret: SigningKey,
    public: [u8; 32],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&hex::encode(&self.public)).finish()
    }
}

impl Key {
    pub(super) fn load(folder: &Path) -> Result<Self, Error> {
        Self::read(&folder.join(FILE))
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |problem: String| Error::File { path: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let seed = hex::decode_array::<32>("key", text.trim())
            .map_err(|_| wrong("must hold 0x and 64 hex digits; restore it from a backup".into()))?;
        Ok(Self::from_seed(seed))
    }

    fn from_seed(seed: [u8; 32]) -> Self {
        let secret = SigningKey::from(seed);
        Self { public: VerificationKey::from(&secret).into(), secret }
    }

    pub(super) fn sign(&self, message: MilestoneId) -> Signature {
        Signature { public_key: self.public, signature: self.secret.sign(&message.0).into() }
    }
}

/// The coordinator's public key. Makes key and state in `folder` when there is neither.
///
/// # Errors
/// [`Error::File`] when either is damaged, or missing although milestones were signed: a key without its state
/// could sign a second milestone of one index.
pub fn public_key(folder: &Path) -> Result<[u8; 32], Error> {
    let path = folder.join(FILE);
    // Nothing was signed while there is no state, or one that says so.
    if !path.exists() && (!State::exists(folder) || State::load(folder).index == Some(0)) {
        let wrong = |error: std::io::Error| Error::File {
            path: path.display().to_string(),
            problem: error.to_string(),
        };
        std::fs::create_dir_all(folder).map_err(wrong)?;
        let seed: [u8; 32] = rand::random();
        // The state first: a power cut here leaves one without a key, which the next start completes.
        State::create(folder)?;
        files::write_atomic(&path, format!("{}\n", hex::encode(&seed)).as_bytes(), 0o600).map_err(wrong)?;
        folder.parent().map_or(Ok(()), files::sync_folder).map_err(wrong)?;
        tracing::info!("coordinator key made");
    }
    Ok(Key::load(folder)?.public)
}

/// Whether milestones were, or are to be, signed with a key in this folder.
pub fn has_key(folder: &Path) -> bool {
    folder.join(FILE).exists()
}

/// File of the key that owns a new network's base tokens.
const GENESIS_FILE: &str = "genesis.key";

/// Public key of who owns all base tokens of a network that is founded here; made where there is none.
///
/// # Errors
/// [`Error::File`].
pub fn genesis_key(folder: &Path) -> Result<[u8; 32], Error> {
    let path = folder.join(GENESIS_FILE);
    if !path.exists() {
        let wrong = |error: std::io::Error| Error::File {
            path: path.display().to_string(),
            problem: error.to_string(),
        };
        std::fs::create_dir_all(folder).map_err(wrong)?;
        let seed: [u8; 32] = rand::random();
        files::write_atomic(&path, format!("{}\n", hex::encode(&seed)).as_bytes(), 0o600).map_err(wrong)?;
        tracing::info!(file = GENESIS_FILE, "key of the new network's base tokens made");
    }
    Ok(Key::read(&path)?.public)
}

//! The signing key: made at the first start, kept in a file that only the node reads.

use std::path::Path;

use ed25519_zebra::{SigningKey, VerificationKey};

use super::Error;
use super::state::State;
use crate::files;
use crate::files::twice::{self, Found, Writer};
use crate::protocol::hex;
use crate::protocol::id::MilestoneId;
use crate::protocol::milestone::Signature;

const FILE: &str = "coordinator.key";

/// The node alone reads it.
const MODE: u32 = 0o600;

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
        let path = folder.join(FILE);
        Self::read(&path)?.ok_or_else(|| wrong(&path, "missing; restore it from a backup"))
    }

    /// Healed from its copy when need be; nothing where there is none.
    fn read(path: &Path) -> Result<Option<Self>, Error> {
        let parse = |text: &[u8]| {
            let text = std::str::from_utf8(text).ok()?;
            hex::decode_array::<32>("key", text.trim()).ok()
        };
        match twice::read(path, MODE, Writer::Program, parse)
            .map_err(|error| wrong(path, &error.to_string()))?
        {
            Found::Missing => Ok(None),
            Found::Whole(seed) => Ok(Some(Self::from_seed(seed))),
            Found::Damaged => Err(wrong(
                path,
                "must hold 0x and 64 hex digits, and so must its copy; restore it from a backup",
            )),
        }
    }

    /// A new one, durably.
    fn make(path: &Path) -> Result<Self, Error> {
        let seed: [u8; 32] = rand::random();
        let text = format!("{}\n", hex::encode(&seed));
        let folder = path.parent().and_then(Path::parent);
        twice::write(path, text.as_bytes(), MODE)
            .and_then(|()| folder.map_or(Ok(()), files::sync_folder))
            .map_err(|error| wrong(path, &error.to_string()))?;
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

fn wrong(path: &Path, problem: &str) -> Error {
    Error::File { path: path.display().to_string(), problem: problem.to_owned() }
}

/// The coordinator's public key. Makes key and state in `folder` when there is neither.
///
/// # Errors
/// [`Error::File`] when either is damaged, or missing although milestones were signed: a key without its state
/// could sign a second milestone of one index.
pub fn public_key(folder: &Path) -> Result<[u8; 32], Error> {
    let path = folder.join(FILE);
    // Nothing was signed while there is no state, or one that says so.
    if !twice::exists(&path) && (!State::exists(folder) || State::load(folder).index == Some(0)) {
        std::fs::create_dir_all(folder).map_err(|error| wrong(&path, &error.to_string()))?;
        // The state first: a power cut here leaves one without a key, which the next start completes.
        State::create(folder)?;
        let key = Key::make(&path)?;
        tracing::info!("coordinator key made");
        return Ok(key.public);
    }
    // Nobody needs it but its owner: looked at here, it is healed in time.
    if let Err(error) = Key::read(&folder.join(GENESIS_FILE)) {
        tracing::error!(%error, "the key of the base tokens");
    }
    Ok(Key::load(folder)?.public)
}

/// Whether milestones were, or are to be, signed with a key in this folder.
pub fn has_key(folder: &Path) -> bool {
    twice::exists(&folder.join(FILE))
}

/// File of the key that owns a new network's base tokens.
const GENESIS_FILE: &str = "genesis.key";

/// Public key of who owns all base tokens of a network that is founded here; made where there is none.
///
/// # Errors
/// [`Error::File`].
pub fn genesis_key(folder: &Path) -> Result<[u8; 32], Error> {
    let path = folder.join(GENESIS_FILE);
    if let Some(key) = Key::read(&path)? {
        return Ok(key.public);
    }
    std::fs::create_dir_all(folder).map_err(|error| wrong(&path, &error.to_string()))?;
    let key = Key::make(&path)?;
    tracing::info!(file = GENESIS_FILE, "key of the new network's base tokens made");
    Ok(key.public)
}

/// Whether there is one.
pub fn has_genesis_key(folder: &Path) -> bool {
    twice::exists(&folder.join(GENESIS_FILE))
}

//! Who this node is to other nodes, and what its tokens are signed with: one Ed25519 key, made at the first start.

use std::path::Path;

use ed25519_zebra::ed25519::pkcs8::spki::der::pem::LineEnding;
use ed25519_zebra::ed25519::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use libp2p_identity::Keypair;

use crate::files;
use crate::files::twice::{self, Found, Writer};

/// Name of the file in the node's folder of keys; the same form as HORNET's.
const FILE: &str = "identity.key";

/// The node alone reads it.
const MODE: u32 = 0o600;

/// The key. Its `Debug` form shows the peer id.
#[derive(Clone)]
pub struct Identity(Keypair);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.peer_id()).finish()
    }
}

/// The key cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Error {
    path: String,
    problem: String,
}

impl Identity {
    /// Reads the key in `folder`, or makes one where there is none.
    ///
    /// # Errors
    /// [`Error`]: also when the file is damaged; nobody but the owner can say what to do then.
    pub fn load_or_create(folder: &Path) -> Result<Self, Error> {
        match Self::load(folder)? {
            Some(identity) => Ok(identity),
            None => Self::create(folder),
        }
    }

    /// Reads the key in `folder`, healed from its copy when need be; `None` where there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub fn load(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        let wrong = |problem: String| Error { path: path.display().to_string(), problem };
        match twice::read(&path, MODE, Writer::Program, parse).map_err(|error| wrong(error.to_string()))? {
            Found::Missing => Ok(None),
            Found::Whole(seed) => Ok(Some(Self::from_seed(seed))),
            Found::Damaged => Err(wrong(
                "is no Ed25519 key in PKCS#8 PEM, and neither is its copy; restore it from a backup, or delete both to get \
                 a new identity"
                    .into(),
            )),
        }
    }

    /// That of a secret seed.
    ///
    /// # Panics
    /// Never: every seed is a key.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Keypair::ed25519_from_bytes(seed).expect("every 32 bytes are a seed"))
    }

    fn create(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let wrong = |problem: String| Error { path: path.display().to_string(), problem };
        std::fs::create_dir_all(folder).map_err(|error| wrong(error.to_string()))?;
        let seed: [u8; 32] = rand::random();
        let text =
            SigningKey::from(seed).to_pkcs8_pem(LineEnding::LF).map_err(|error| wrong(error.to_string()))?;
        twice::write(&path, text.as_bytes(), MODE).map_err(|error| wrong(error.to_string()))?;
        folder.parent().map_or(Ok(()), files::sync_folder).map_err(|error| wrong(error.to_string()))?;
        Ok(Self::from_seed(seed))
    }

    /// As other nodes know it: base58 of the public key's multihash, `12D3Koo…`.
    pub fn peer_id(&self) -> String {
        self.0.public().to_peer_id().to_base58()
    }

    /// The key itself.
    pub fn keypair(&self) -> Keypair {
        self.0.clone()
    }

    /// What tokens are signed with: the private key as libp2p writes it in a protocol buffer, 68 bytes (HORNET).
    ///
    /// # Panics
    /// Never: every Ed25519 key has that form.
    pub fn token_secret(&self) -> Vec<u8> {
        self.0.to_protobuf_encoding().expect("an Ed25519 key has that form")
    }
}

/// The seed in a PKCS#8 file. ([`SigningKey`]'s own way to read one panics at damage.)
fn parse(text: &[u8]) -> Option<[u8; 32]> {
    let pair = KeypairBytes::from_pkcs8_pem(std::str::from_utf8(text).ok()?).ok()?;
    let public: [u8; 32] = VerificationKeyBytes::from(&SigningKey::from(pair.secret_key)).into();
    let belongs = pair.public_key.is_none_or(|told| told.to_bytes() == public);
    belongs.then_some(pair.secret_key)
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let made = Identity::load_or_create(folder.path()).unwrap();
        assert!(made.peer_id().starts_with("12D3Koo") && made.token_secret().len() == 68);
        assert_eq!(Identity::load_or_create(folder.path()).unwrap().peer_id(), made.peer_id());
        let file = folder.path().join(super::FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        // 48 bytes, as Go writes a key.
        assert_eq!(text.lines().nth(1).map(str::len), Some(64), "{text}");
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut flipped = text.clone().into_bytes();
                flipped[at] ^= 1 << bit;
                std::fs::write(&file, flipped).unwrap();
                let found = Identity::load_or_create(folder.path()).unwrap().peer_id();
                assert_eq!(found, made.peer_id(), "bit {bit} of byte {at}");
            }
        }
        std::fs::write(&file, &text[..60]).unwrap();
        assert_eq!(Identity::load_or_create(folder.path()).unwrap().peer_id(), made.peer_id());
        std::fs::write(&file, &text[..60]).unwrap();
        std::fs::write(file.with_file_name("identity.key.copy"), &text[..60]).unwrap();
        let error = Identity::load_or_create(folder.path()).unwrap_err().to_string();
        assert!(error.contains("restore it from a backup"), "{error}");
    }
}

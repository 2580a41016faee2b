//! `ed25519-key`, `ed25519-addr`, `jwt-api`, `pwd-hash`: keys, addresses, tokens, passwords.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use ed25519_zebra::{SigningKey, VerificationKey};
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha512;

use super::Answer;
use crate::identity::Identity;
use crate::protocol::address::Address;
use crate::protocol::hex;
use crate::token::Tokens;

/// A key, or its public part; the names are HORNET's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    mnemonic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
    public_key: String,
    ed25519: String,
    bech32: String,
}

fn digits(bytes: &[u8]) -> String {
    hex::encode(bytes).trim_start_matches("0x").to_owned()
}

fn info(public_key: [u8; 32], hrp: &str) -> anyhow::Result<KeyInfo> {
    let is_prefix =
        !hrp.is_empty() && hrp.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    anyhow::ensure!(is_prefix, "--hrp: {hrp:?} is no prefix of addresses; write like \"rms\"");
    let address = Address::of_key(&public_key);
    Ok(KeyInfo {
        mnemonic: None,
        path: None,
        private_key: None,
        public_key: digits(&public_key),
        ed25519: digits(&crate::protocol::blake2b_256(&public_key)),
        bech32: address.to_bech32(hrp),
    })
}

fn answer(info: &KeyInfo) -> anyhow::Result<Answer> {
    let mut text = String::new();
    for (name, value) in
        [("mnemonic", &info.mnemonic), ("path", &info.path), ("private key", &info.private_key)]
    {
        if let Some(value) = value {
            writeln!(text, "{name}: {value}")?;
        }
    }
    writeln!(text, "public key: {}", info.public_key)?;
    writeln!(text, "address: {}", info.ed25519)?;
    write!(text, "bech32 address: {}", info.bech32)?;
    Ok(Answer { text, json: serde_json::to_value(info)? })
}

/// A new key, or the one of a mnemonic sentence (BIP-39, SLIP-10).
pub(super) fn key(hrp: &str, path: &str, mnemonic: Option<&str>) -> anyhow::Result<Answer> {
    let mnemonic = match mnemonic {
        Some(sentence) => bip39::Mnemonic::parse_normalized(sentence).context("--mnemonic")?,
        None => bip39::Mnemonic::from_entropy(&rand::random::<[u8; 32]>()).context("a new mnemonic")?,
    };
    anyhow::ensure!(mnemonic.word_count() == 24, "--mnemonic: {} words, 24 needed", mnemonic.word_count());
    let secret = derive(&mnemonic.to_seed_normalized(""), path)?;
    let public: [u8; 32] = VerificationKey::from(&SigningKey::from(secret)).into();
    answer(&KeyInfo {
        mnemonic: Some(mnemonic.to_string()),
        path: Some(path.to_owned()),
        // As Go writes a key: seed and public key.
        private_key: Some(digits(&[secret, public].concat())),
        ..info(public, hrp)?
    })
}

/// SLIP-10 for Ed25519, which knows hardened steps only.
fn derive(seed: &[u8], path: &str) -> anyhow::Result<[u8; 32]> {
    let step = |key: &[u8], parts: &[&[u8]]| {
        let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("keys of any length are good");
        parts.iter().for_each(|part| mac.update(part));
        let bytes: [u8; 64] = mac.finalize().into_bytes().into();
        let (key, code) = bytes.split_at(32);
        (<[u8; 32]>::try_from(key).expect("split there"), code.to_vec())
    };
    let wrong = || format!("--path: {path:?} is no path like m/44'/4218'/0'/0'/0'");
    let (mut key, mut code) = step(b"ed25519 seed", &[seed]);
    for index in path.strip_prefix("m/").with_context(wrong)?.split('/') {
        let index = index.strip_suffix('\'').with_context(wrong)?.parse::<u32>().with_context(wrong)?;
        anyhow::ensure!(index < 1 << 31, wrong());
        (key, code) = step(&code, &[&[0], &key, &(index | 1 << 31).to_be_bytes()]);
    }
    Ok(key)
}

/// What belongs to a public key.
pub(super) fn address(hrp: &str, public_key: &str) -> anyhow::Result<Answer> {
    let key = hex::decode_array("key", &format!("0x{}", public_key.trim_start_matches("0x")));
    answer(&info(key.map_err(|_| anyhow::anyhow!("--public-key: 64 hex digits needed"))?, hrp)?)
}

/// A token for the protected routes of a node, good for ever.
pub(super) fn token(data: &Path, salt: &str) -> anyhow::Result<Answer> {
    let folder = data.join("identity");
    let identity = Identity::load(&folder)?;
    let identity =
        identity.with_context(|| format!("{}: no identity there; start the node once", folder.display()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let jwt = Tokens::new(identity.token_secret(), identity.peer_id(), salt.to_owned()).issue(now);
    Ok(Answer { text: format!("API token: {jwt}"), json: serde_json::json!({ "jwt": jwt }) })
}

/// Where a password may stand instead of on the command line, which others can see.
pub(super) const PASSWORD_VARIABLE: &str = "OSMIA_TOOL_PASSWORD";

/// What a dashboard keeps of a password: scrypt with HORNET's cost, N = 2^15, r = 8, p = 1.
pub(super) fn password(password: &[u8], salt: Option<&str>) -> anyhow::Result<Answer> {
    let salt = match salt {
        Some(text) => hex::decode_array("salt", &format!("0x{text}"))
            .map_err(|_| anyhow::anyhow!("--salt: 64 hex digits needed"))?,
        None => rand::random::<[u8; 32]>(),
    };
    anyhow::ensure!(!password.is_empty(), "the password is empty");
    let cost = scrypt::Params::new(15, 8, 1).context("cost of scrypt")?;
    let mut hash = [0; 32];
    scrypt::scrypt(password, &salt, &cost, &mut hash).context("scrypt")?;
    let (hash, salt) = (digits(&hash), digits(&salt));
    let json = serde_json::json!({ "passwordHash": hash, "passwordSalt": salt });
    Ok(Answer { text: format!("hash: {hash}\nsalt: {salt}"), json })
}

#[cfg(test)]
mod tests {
    use super::{address, derive, key, password};

    /// Test vector 1 of SLIP-10 for Ed25519.
    #[test]
    fn keys_are_derived_as_slip_10_says() {
        let seed = (0..16).collect::<Vec<u8>>();
        let found = super::digits(&derive(&seed, "m/0'/1'/2'").unwrap());
        assert_eq!(found, "92a5b23c0b8a99e37d07df3fb9966917f5d06e02ddbd909c7e184371463e9fc9");
        for wrong in ["", "m", "m/0", "44'/0'", "m/x'", "m/2147483648'"] {
            derive(&seed, wrong).unwrap_err();
        }
    }

    #[test]
    fn a_new_key_is_found_again_by_its_words() {
        let path = "m/44'/4218'/0'/0'/0'";
        let made = key("rms", path, None).unwrap().json;
        let again = key("rms", path, made["mnemonic"].as_str()).unwrap().json;
        assert_eq!(made, again);
        let public = address("rms", made["publicKey"].as_str().unwrap()).unwrap().json;
        assert_eq!(public["bech32"], made["bech32"]);
        address("RMS", made["publicKey"].as_str().unwrap()).unwrap_err();
        key("rms", path, Some("twelve words are not enough")).unwrap_err();
    }

    /// The password of HORNET's private network, as its public files have it.
    #[test]
    fn passwords_are_hashed_as_hornet_does() {
        let salt = "e5d8d0bd3bb9723236177b4713a11580c55b69a51e7055dd11fa1dad3b8f6d6c";
        let hash = "577eb97f8faf2af47ff957b00827d6bfe9d05b810981e3073dc42553505282c1";
        assert_eq!(password(b"admin", Some(salt)).unwrap().json["passwordHash"], hash);
        assert_ne!(password(b"admin", None).unwrap().json["passwordHash"], hash);
        password(b"", None).unwrap_err();
    }
}

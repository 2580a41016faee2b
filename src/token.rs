//! What opens the protected routes: JSON Web Tokens (RFC 7519) of one kind, HS256, for this node, as HORNET makes them; and
//! the owner's password.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the subject of HORNET's tokens is, unless the operator chose another one.
pub const SALT: &str = "HORNET";

/// Clocks may differ by so many seconds.
const LEEWAY_S: u64 = 10;

/// The key that tokens of this node are signed with, and what they must say.
#[derive(Clone)]
pub struct Tokens {
    secret: Vec<u8>,
    peer_id: String,
    salt: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("peer_id", &self.peer_id)
            .field("salt", &self.salt)
            .finish_non_exhaustive()
    }
}

/// The owner's password. It is in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// Shorter ones can be guessed; bytes.
    pub const LENGTHS: std::ops::RangeInclusive<usize> = 12..=128;

    /// `None`: too short, or too long.
    pub fn new(text: String) -> Option<Self> {
        Self::LENGTHS.contains(&text.len()).then_some(Self(text))
    }

    /// Whether that is what follows `Basic` in a request (RFC 7617), for the user `owner`.
    pub fn opens(&self, credentials: &str) -> bool {
        let right = format!("owner:{}", self.0);
        // How long the comparison takes says something of digests alone.
        let digest = |bytes: &[u8]| Sha256::digest(bytes);
        STANDARD.decode(credentials).is_ok_and(|given| digest(&given) == digest(right.as_bytes()))
    }
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a token, another algorithm, another key, or not valid now.
    #[error("invalid or expired jwt")]
    Invalid,
    /// Made for another node, or with another salt.
    #[error("invalid jwt claims")]
    Claims,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
}

/// Those that HORNET writes. The issuer is not looked at, as there: whoever has the key can write any.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Tokens {
    /// Of a node: `secret` is its private key in libp2p's form.
    pub fn new(secret: Vec<u8>, peer_id: String, salt: String) -> Self {
        Self { secret, peer_id, salt }
    }

    /// A token that is good from `now` on, in Unix seconds, for ever.
    pub fn issue(&self, now: u64) -> String {
        let header = Header { alg: "HS256".to_owned(), typ: Some("JWT".to_owned()) };
        // Seconds of any time to come are exact in 53 bits.
        let seconds = Some(now as f64);
        let claims = Claims {
            aud: Some(Audience::One(self.peer_id.clone())),
            iat: seconds,
            iss: Some(self.peer_id.clone()),
            jti: Some(now.to_string()),
            nbf: seconds,
            sub: Some(self.salt.clone()),
            exp: None,
        };
        let part = |json: Result<Vec<u8>, _>| URL_SAFE_NO_PAD.encode(json.unwrap_or_default());
        let signed = format!("{}.{}", part(serde_json::to_vec(&header)), part(serde_json::to_vec(&claims)));
        let signature = URL_SAFE_NO_PAD.encode(self.mac(&signed).finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("keys of any length are good");
        mac.update(signed.as_bytes());
        mac
    }

    /// Whether a token is good at `now`, in Unix seconds.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, token: &str, now: u64) -> Result<(), Refusal> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Invalid)?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::Invalid)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Invalid);
        // The signature before anything that it covers is believed; in constant time.
        self.mac(signed).verify_slice(&decode(signature)?).map_err(|_| Refusal::Invalid)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refusal::Invalid)?;
        if header.alg != "HS256" {
            return Err(Refusal::Invalid);
        }
        let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| Refusal::Invalid)?;
        let (now, leeway) = (now as f64, LEEWAY_S as f64);
        let over = claims.exp.is_some_and(|end| now > end + leeway);
        let early = [claims.nbf, claims.iat].into_iter().flatten().any(|start| now + leeway < start);
        if over || early {
            return Err(Refusal::Invalid);
        }
        let for_this_node = match &claims.aud {
            Some(Audience::One(audience)) => *audience == self.peer_id,
            Some(Audience::Many(audiences)) => audiences.contains(&self.peer_id),
            None => false,
        };
        if for_this_node && claims.sub.as_ref() == Some(&self.salt) { Ok(()) } else { Err(Refusal::Claims) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Refusal, Tokens};

    fn tokens(secret: u8, peer: &str, salt: &str) -> Tokens {
        Tokens::new(vec![secret; 68], peer.to_owned(), salt.to_owned())
    }

    #[test]
    fn own_tokens_are_good_and_others_are_not() {
        let own = tokens(1, "peer", "HORNET");
        let token = own.issue(1_000);
        assert_eq!(own.check(&token, 1_000), Ok(()));
        assert_eq!(own.check(&token, u64::from(u32::MAX)), Ok(()));
        assert_eq!(own.check(&token, 900), Err(Refusal::Invalid), "not yet good");
        assert_eq!(tokens(2, "peer", "HORNET").check(&token, 1_000), Err(Refusal::Invalid));
        assert_eq!(tokens(1, "other", "HORNET").check(&token, 1_000), Err(Refusal::Claims));
        assert_eq!(tokens(1, "peer", "salt").check(&token, 1_000), Err(Refusal::Claims));
        for cut in 0..token.len() {
            assert!(own.check(&token[..cut], 1_000).is_err());
        }
    }

    /// Whoever may choose the algorithm needs no key.
    #[test]
    fn no_other_algorithm_is_taken() {
        use base64::Engine;
        let own = tokens(1, "peer", "HORNET");
        let token = own.issue(1_000);
        let claims = token.split('.').nth(1).unwrap();
        let header = super::URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        assert_eq!(own.check(&format!("{header}.{claims}."), 1_000), Err(Refusal::Invalid));
        let signed = format!("{header}.{claims}");
        use hmac::Mac;
        let signature = super::URL_SAFE_NO_PAD.encode(own.mac(&signed).finalize().into_bytes());
        assert_eq!(own.check(&format!("{signed}.{signature}"), 1_000), Err(Refusal::Invalid));
    }
}

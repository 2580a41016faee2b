//! Address of another node: `/ip4/192.0.2.1/tcp/15600/p2p/12D3Koo…`, a multiaddress as HORNET takes it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Where a peer is, and who it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// `ip4`, `ip6`, `dns`, `dns4` or `dns6`.
    pub kind: String,
    /// Address or name.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Its identity, in base58.
    pub id: String,
}

impl PeerAddress {
    /// Reads the text form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let parts = text.split('/').collect::<Vec<_>>();
        let ["", kind, host, "tcp", port, "p2p" | "ipfs", id] = parts.as_slice() else {
            return Err("write /ip4/ADDRESS/tcp/PORT/p2p/PEER-ID; ip6, dns, dns4 and dns6 may stand for ip4");
        };
        let fits = match *kind {
            "ip4" => host.parse::<Ipv4Addr>().is_ok(),
            "ip6" => host.parse::<Ipv6Addr>().is_ok(),
            "dns" | "dns4" | "dns6" => is_name(host),
            _ => return Err("the address begins with none of ip4, ip6, dns, dns4, dns6"),
        };
        if !fits {
            return Err("the host is no address, or no name, of the kind that stands before it");
        }
        let port = port.parse().ok().filter(|port| *port > 0).ok_or("the port is none of 1 to 65535")?;
        if !Self::is_id(id) {
            return Err("the peer id is none: it may be cut or mistyped; copy it again, like 12D3Koo...");
        }
        let (kind, host, id) = ((*kind).to_owned(), (*host).to_owned(), (*id).to_owned());
        Ok(Self { kind, host, port, id })
    }

    /// Whether a text is an identity.
    pub fn is_id(text: &str) -> bool {
        // libp2p, peer ids: > a multihash: of SHA2-256, or a key of up to 42 bytes as it is
        (40..=64).contains(&text.len())
            && bs58::decode(text).into_vec().is_ok_and(|bytes| match bytes.as_slice() {
                [0x12, 32, hash @ ..] => hash.len() == 32,
                [0, length @ ..=42, key @ ..] => key.len() == usize::from(*length),
                _ => false,
            })
    }

    /// Without the identity.
    pub fn place(&self) -> String {
        format!("/{}/{}/tcp/{}", self.kind, self.host, self.port)
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/p2p/{}", self.place(), self.id)
    }
}

/// An entry node of autopeering: `/dns/example.org/udp/14626/autopeering/4H6WV54tB29u8xCcEaMGQMn37LFvM1ynNpp27TTXaqNM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryAddress {
    /// `ip4`, `ip6` or `dns`.
    pub kind: String,
    /// Address or name.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// Its Ed25519 key.
    pub key: [u8; 32],
}

impl EntryAddress {
    /// Reads the text form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let parts = text.split('/').collect::<Vec<_>>();
        let ["", kind @ ("ip4" | "ip6" | "dns"), host, "udp", port, "autopeering", key] = parts.as_slice()
        else {
            return Err("write /dns/NAME/udp/PORT/autopeering/KEY; ip4 and ip6 may stand for dns");
        };
        let fits = match *kind {
            "ip4" => host.parse::<Ipv4Addr>().is_ok(),
            "ip6" => host.parse::<Ipv6Addr>().is_ok(),
            _ => is_name(host),
        };
        if !fits {
            return Err("the host is no address, or no name, of the kind that stands before it");
        }
        let port = port.parse().ok().filter(|port| *port > 0).ok_or("the port is none of 1 to 65535")?;
        let key = bs58::decode(key).into_vec().ok().and_then(|key| key.try_into().ok());
        let key = key.ok_or("the key is no base58 text of 32 bytes")?;
        Ok(Self { kind: (*kind).to_owned(), host: (*host).to_owned(), port, key })
    }
}

/// How an entry node's key is written.
pub fn entry_key(key: &[u8; 32]) -> String {
    bs58::encode(key).into_string()
}

fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(legal)
    };
    host.len() <= 253 && host.trim_end_matches('.').split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::{EntryAddress, PeerAddress, entry_key};

    const ID: &str = "12D3KooWGdr8M5KX8KuKaXSiKfHJstdVnRkadYmupF7tFk2HrRoA";

    #[test]
    fn entry_nodes_are_read() {
        // As HORNET's default configuration of the main network names it.
        let key = "4H6WV54tB29u8xCcEaMGQMn37LFvM1ynNpp27TTXaqNM";
        let read = |place: &str| EntryAddress::parse(&format!("{place}/autopeering/{key}"));
        let node = read("/dns/entry-hornet-0.h.stardust-mainnet.iotaledger.net/udp/14626").unwrap();
        assert_eq!((node.port, entry_key(&node.key).as_str()), (14_626, key));
        for wrong in
            ["/dns/a/tcp/1", "/ip4/a/udp/1", "/ip6/1.2.3.4/udp/1", "/dns/a/udp/0", "/dns4/a/udp/1", ""]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(EntryAddress::parse("/ip4/1.2.3.4/udp/1/autopeering/4H6WV54t").is_err());
    }

    #[test]
    fn addresses_are_read_and_written() {
        for place in
            ["/ip4/127.0.0.1/tcp/15699", "/ip6/::1/tcp/1", "/dns/localhost/tcp/15600", "/dns4/a.b-c.d/tcp/9"]
        {
            let text = format!("{place}/p2p/{ID}");
            let read = PeerAddress::parse(&text).unwrap();
            assert_eq!((read.place().as_str(), read.to_string()), (place, text));
        }
        let id = format!("/p2p/{ID}");
        for wrong in [
            "".to_owned(),
            "/ip4/127.0.0.1/tcp/15699".to_owned(),
            format!("/ip4/::1/tcp/1{id}"),
            format!("/ip4/1.2.3.4/udp/1{id}"),
            format!("/ip4/1.2.3.4/tcp/0{id}"),
            format!("/ip4/1.2.3.4/tcp/65536{id}"),
            format!("/unix/x/tcp/1{id}"),
            format!("/dns/a..b/tcp/1{id}"),
            format!("/ip4/1.2.3.4/tcp/1{id}/x"),
            format!("/ip4/1.2.3.4/tcp/1{id}0"),
        ] {
            assert!(PeerAddress::parse(&wrong).is_err(), "{wrong}");
        }
    }
}

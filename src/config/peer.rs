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
    /// Reads the text form. The identity is not decoded here.
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
            return Err("the peer id is no base58 text like 12D3Koo...");
        }
        let (kind, host, id) = ((*kind).to_owned(), (*host).to_owned(), (*id).to_owned());
        Ok(Self { kind, host, port, id })
    }

    /// Whether a text can be an identity; the identity is not decoded.
    pub fn is_id(text: &str) -> bool {
        let base58 = |byte: u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte);
        (40..=64).contains(&text.len()) && text.bytes().all(base58)
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

fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(legal)
    };
    host.len() <= 253 && host.trim_end_matches('.').split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::PeerAddress;

    const ID: &str = "12D3KooWGdr8M5KX8KuKaXSiKfHJstdVnRkadYmupF7tFk2HrRoA";

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

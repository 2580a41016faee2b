//! Messages of multicast DNS (RFC 6762) and service discovery (RFC 6763), as far as nodes need them to find each other.

use std::net::Ipv4Addr;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query};
use hickory_resolver::proto::rr::rdata::{A, PTR, SRV, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// What every node offers.
const SERVICE: &str = "_osmia._tcp.local.";

/// RFC 6762 §10: > 120 seconds for records with a host name in them
const TTL_S: u32 = 120;

/// Nodes that one message is taken for: a message has one.
const MOST: usize = 4;

/// Records of a message that are looked at, each with all others; other programs put more into one.
const MOST_RECORDS: usize = 64;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its identity, in base58.
    pub id: String,
    /// TCP port of gossip.
    pub port: u16,
    /// Its network; `None` while it looks for one.
    pub network: Option<NetworkMark>,
    /// Whether it tells strangers about its network.
    pub open: bool,
}

/// Tells a network from others, those of the same name too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkMark {
    /// Of its name.
    pub id: u64,
    /// Of its milestone keys.
    pub keys: u64,
}

impl Card {
    /// A name that no other node has, without conflicts to settle.
    fn host(&self) -> Option<Name> {
        let tail = self.id.get(self.id.len().checked_sub(8)?..)?.to_ascii_lowercase();
        Name::from_ascii(format!("osmia-{tail}.local.")).ok()
    }

    fn text(&self) -> TXT {
        let mut lines = vec![format!("id={}", self.id), format!("open={}", u8::from(self.open))];
        if let Some(NetworkMark { id, keys }) = self.network {
            lines.push(format!("network={id}.{keys}"));
        }
        TXT::new(lines)
    }
}

/// What is to be made of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Somebody asks for nodes, or for this one's address.
    pub asked: bool,
    /// Nodes that say who they are.
    pub cards: Vec<Card>,
}

fn service() -> Option<Name> {
    Name::from_ascii(SERVICE).ok()
}

/// A question for all nodes.
pub fn question() -> Option<Vec<u8>> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(service()?, RecordType::PTR));
    message.to_vec().ok()
}

/// What a node says, asked or not; `address` is its own where this is sent.
pub fn announcement(card: &Card, address: Option<Ipv4Addr>) -> Option<Vec<u8>> {
    let (service, host) = (service()?, card.host()?);
    let instance = service.prepend_label(card.id.as_bytes()).ok()?;
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    // RFC 6762 §18.4: > in response messages the Authoritative Answer bit MUST be set
    message.metadata.authoritative = true;
    let record = |name: &Name, data| Record::from_rdata(name.clone(), TTL_S, data);
    message.add_answer(record(&service, RData::PTR(PTR(instance.clone()))));
    message.add_answer(record(&instance, RData::SRV(SRV::new(0, 0, card.port, host.clone()))));
    message.add_answer(record(&instance, RData::TXT(card.text())));
    if let Some(address) = address {
        message.add_answer(record(&host, RData::A(A(address))));
    }
    message.to_vec().ok()
}

/// Reads a message for the node with this card; whatever it is, it does no harm.
pub fn hear(bytes: &[u8], own: &Card) -> Heard {
    if !counts_fit(bytes) {
        return Heard::default();
    }
    let (Ok(message), Some(service)) = (Message::from_vec(bytes), service()) else {
        return Heard::default();
    };
    if message.metadata.message_type == MessageType::Query {
        let host = own.host();
        let about_us = |query: &Query| {
            let wanted = [RecordType::PTR, RecordType::A, RecordType::ANY].contains(&query.query_type());
            wanted && (query.name() == &service || Some(query.name()) == host.as_ref())
        };
        return Heard { asked: message.queries.iter().any(about_us), cards: Vec::new() };
    }
    let records = || message.answers.iter().chain(&message.additionals).take(MOST_RECORDS);
    let cards = records().filter_map(|record| {
        let RData::SRV(found) = &record.data else { return None };
        if !service.zone_of(&record.name) || record.name.num_labels() != service.num_labels() + 1 {
            return None;
        }
        let text = records().find_map(|other| {
            let RData::TXT(text) = &other.data else { return None };
            (other.name == record.name).then_some(text)
        });
        card(found.port, text?)
    });
    Heard { asked: false, cards: cards.filter(|card| card.id != own.id).take(MOST).collect() }
}

/// Whether there may be as many questions and records as the header says. The parser makes room for so many before it looks.
fn counts_fit(bytes: &[u8]) -> bool {
    // RFC 1035 §4.1: > a name of one byte at least, then type and class; of a record also TTL and length
    const QUESTION_BYTES: usize = 5;
    const RECORD_BYTES: usize = 11;
    let Some((header, rest)) = bytes.split_first_chunk::<12>() else { return false };
    let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    count(4) * QUESTION_BYTES + (count(6) + count(8) + count(10)) * RECORD_BYTES <= rest.len()
}

fn card(port: u16, text: &TXT) -> Option<Card> {
    let lines = || text.txt_data.iter().filter_map(|line| std::str::from_utf8(line).ok());
    let value = |key: &str| lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let network = match value("network") {
        Some(mark) => {
            let (id, keys) = mark.split_once('.')?;
            Some(NetworkMark { id: id.parse().ok()?, keys: keys.parse().ok()? })
        }
        None => None,
    };
    let id = value("id").filter(|id| crate::config::PeerAddress::is_id(id))?.to_owned();
    (port > 0).then(|| Card { id, port, network, open: value("open") == Some("1") })
}

#[cfg(test)]
mod tests {
    use super::{Card, Heard, NetworkMark, announcement, hear, question};

    fn some(tail: &str, network: Option<NetworkMark>) -> Card {
        let id = format!("12D3KooWGdr8M5KX8KuKaXSiKfHJstdVnRkadYmupF7tFk2{tail}");
        Card { id, port: 15_600, network, open: true }
    }

    #[test]
    fn nodes_understand_each_other() {
        let (own, mark) = (some("HrRoA", None), NetworkMark { id: u64::MAX, keys: 7 });
        assert_eq!(hear(&question().unwrap(), &own), Heard { asked: true, cards: Vec::new() });
        for network in [None, Some(mark)] {
            let other = some("HrRoB", network);
            let said = announcement(&other, Some([192, 0, 2, 7].into())).unwrap();
            assert!(said.len() < 512);
            assert_eq!(hear(&said, &own), Heard { asked: false, cards: vec![other.clone()] });
            // Its own words come back to it.
            assert_eq!(hear(&said, &other), Heard::default());
        }
    }

    #[test]
    fn whatever_comes_does_no_harm() {
        let own = some("HrRoA", None);
        let said = announcement(&some("HrRoB", Some(NetworkMark { id: 1, keys: 2 })), None).unwrap();
        for at in 0..said.len() {
            assert!(hear(&said[..at], &own).cards.is_empty());
            for value in [0, 1, 0x0c, 0xc0, 0xff] {
                let mut harmed = said.clone();
                harmed[at] = value;
                assert!(hear(&harmed, &own).cards.len() <= 1);
            }
        }
    }

    /// As RFC 6762 §5 has them: id 0, class IN; names in any case.
    #[test]
    fn questions_of_other_programs_are_answered() {
        let question = |labels: &[&str]| {
            let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            for label in labels {
                bytes.push(u8::try_from(label.len()).unwrap());
                bytes.extend(label.as_bytes());
            }
            bytes.extend([0, 0, 12, 0, 1]);
            bytes
        };
        let own = some("HrRoA", None);
        assert!(hear(&question(&["_osmia", "_tcp", "local"]), &own).asked);
        assert!(hear(&question(&["_OSMIA", "_tcp", "local"]), &own).asked);
        assert!(!hear(&question(&["_ipp", "_tcp", "local"]), &own).asked);
    }
}

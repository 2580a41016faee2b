//! Peers that this node's owner named: in the configuration, or by the API, which are kept in a file of HORNET's form.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use crate::config::{NamedPeer, PeerAddress};
use crate::files::twice::{self, Found, Writer};
use crate::handle::peers::AddError;

/// Name of the file in the node's folder.
const FILE: &str = "peering.json";

/// The node alone reads it.
const MODE: u32 = 0o600;

/// Peers that can be named; as many as can be connected.
const MOST: usize = crate::gossip::SLOTS;

/// HORNET `p2p.reconnectInterval`: between two attempts, and up to a second more, so that two nodes do not meet for ever.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Between the first attempts: a peer that was started together with this node.
const FIRST_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Attempts that follow each other sooner.
const SOON: u32 = 5;

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) address: PeerAddress,
    pub(super) alias: Option<String>,
    /// The configuration names it.
    configured: bool,
    next: Instant,
    attempts: u32,
    /// What keeps it away, as its owner was told.
    problem: Option<String>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct KnownPeers {
    peers: BTreeMap<PeerId, Known>,
    file: PathBuf,
}

#[derive(Debug, Serialize, Deserialize, Default)]
struct PeeringFile {
    peers: Vec<PeerLine>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PeerLine {
    #[serde(default)]
    alias: String,
    multi_address: String,
}

impl KnownPeers {
    /// Those of the configuration and those in the file. One that is damaged, and its copy, too, is told, and written anew
    /// with the next change.
    pub(super) fn open(data: &Path, configured: &[NamedPeer], now: Instant) -> Self {
        let file = data.join(FILE);
        let mut this = Self { peers: BTreeMap::new(), file };
        let parse = |bytes: &[u8]| serde_json::from_slice::<PeeringFile>(bytes).ok();
        let lines = match twice::read(&this.file, MODE, Writer::People, parse) {
            Ok(Found::Whole(lines)) => lines,
            Ok(Found::Missing) => PeeringFile::default(),
            Ok(Found::Damaged) => {
                tracing::warn!(file = %this.file.display(), "damaged: peers that were added are forgotten");
                PeeringFile::default()
            }
            Err(error) => {
                tracing::warn!(file = %this.file.display(), %error, "peers that were added cannot be read");
                PeeringFile::default()
            }
        };
        for NamedPeer { address, alias } in configured {
            this.insert(address.clone(), alias.clone(), true, now);
        }
        for PeerLine { alias, multi_address } in lines.peers {
            match PeerAddress::parse(&multi_address) {
                Ok(address) => {
                    this.insert(address, Some(alias).filter(|alias| !alias.is_empty()), false, now);
                }
                Err(problem) => tracing::warn!(address = multi_address, problem, "peer left out"),
            }
        }
        this
    }

    fn insert(&mut self, address: PeerAddress, alias: Option<String>, configured: bool, now: Instant) {
        let Ok(id) = address.id.parse() else {
            tracing::warn!(%address, "peer left out: its id is none");
            return;
        };
        let known = Known { address, alias, configured, next: now, attempts: 0, problem: None };
        self.peers.entry(id).or_insert(known);
    }

    pub(super) fn get(&self, id: &PeerId) -> Option<&Known> {
        self.peers.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Known)> {
        self.peers.iter()
    }

    /// Names a peer, for good; one that was named by the API may be somewhere else now.
    ///
    /// # Errors
    /// Why not, in words for who asked.
    pub(super) fn add(
        &mut self,
        address: PeerAddress,
        alias: Option<String>,
        now: Instant,
    ) -> Result<PeerId, AddError> {
        let unfit = || AddError::Unfit("multiAddress: the peer id is none".to_owned());
        let id = address.id.parse().map_err(|_| unfit())?;
        let before = self.peers.get(&id).cloned();
        match &before {
            // HORNET: > a peer that is known is no error
            Some(known) if known.address == address => return Ok(id),
            Some(known) if known.configured => {
                let at = &known.address;
                return Err(AddError::Unfit(format!(
                    "multiAddress: the configuration names this peer, at {at}; change peering.peers there"
                )));
            }
            None if self.peers.len() >= MOST => {
                return Err(AddError::Unfit(format!("{MOST} peers are named already; remove one first")));
            }
            Some(_) | None => {}
        }
        let alias = alias.or_else(|| before.as_ref()?.alias.clone());
        self.peers.remove(&id);
        self.insert(address, alias, false, now);
        if let Err(error) = self.save() {
            self.peers.remove(&id);
            self.peers.extend(before.map(|known| (id, known)));
            return Err(AddError::File(error.to_string()));
        }
        Ok(id)
    }

    /// Takes a name back; false when there is none. One that the configuration names is back with the next start.
    ///
    /// # Errors
    /// Why not, in words for who asked.
    pub(super) fn remove(&mut self, id: &PeerId) -> Result<bool, String> {
        let Some(known) = self.peers.remove(id) else { return Ok(false) };
        if let Err(error) = self.save() {
            self.peers.insert(*id, known);
            return Err(format!("the list of peers cannot be written: {error}"));
        }
        Ok(true)
    }

    fn save(&self) -> io::Result<()> {
        let lines = self.peers.values().filter(|known| !known.configured).map(|known| PeerLine {
            alias: known.alias.clone().unwrap_or_default(),
            multi_address: known.address.to_string(),
        });
        let text =
            serde_json::to_vec_pretty(&PeeringFile { peers: lines.collect() }).map_err(io::Error::other)?;
        twice::write(&self.file, &text, MODE)
    }

    /// Those that are to be dialled now; their next turn is set.
    pub(super) fn due(
        &mut self,
        is_connected: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) -> Vec<(PeerId, PeerAddress)> {
        let mut due = Vec::new();
        for (id, known) in &mut self.peers {
            if is_connected(id) {
                known.attempts = 0;
            } else if known.next <= now {
                let gap = if known.attempts < SOON { FIRST_AGAIN_AFTER } else { AGAIN_AFTER };
                known.next = now + gap + Duration::from_millis(rand::random_range(0..1_000));
                known.attempts += 1;
                due.push((*id, known.address.clone()));
            }
        }
        due
    }

    /// What keeps a peer away, or that nothing does. Whether it is one of these, and something else than before.
    pub(super) fn is_news(&mut self, id: &PeerId, problem: Option<&str>) -> bool {
        let Some(known) = self.peers.get_mut(id) else { return false };
        let is_new = known.problem.as_deref() != problem;
        if is_new {
            known.problem = problem.map(str::to_owned);
        }
        is_new
    }

    /// A connection ended: the next attempt is not before its time.
    pub(super) fn lost(&mut self, id: &PeerId, now: Instant) {
        if let Some(known) = self.peers.get_mut(id) {
            known.next =
                known.next.max(now + FIRST_AGAIN_AFTER + Duration::from_millis(rand::random_range(0..1_000)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{AddError, KnownPeers, NamedPeer, PeerAddress};

    fn address(host: u8, id: &str) -> PeerAddress {
        PeerAddress::parse(&format!("/ip4/192.0.2.{host}/tcp/15600/p2p/{id}")).unwrap()
    }

    #[test]
    fn what_is_added_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let ids = [
            "12D3KooWGdr8M5KX8KuKaXSiKfHJstdVnRkadYmupF7tFk2HrRoA",
            "12D3KooWSagdVaCrS14GeJhM8CbQr41AW2PiYMgptTyAybCbQuEY",
        ];
        let configured = [NamedPeer { address: address(1, ids[0]), alias: None }];
        let now = Instant::now();
        let open = || KnownPeers::open(folder.path(), &configured, now);
        let mut peers = open();
        let id = peers.add(address(2, ids[1]), Some("two".into()), now).unwrap();
        assert_eq!(peers.add(address(2, ids[1]), Some("three".into()), now), Ok(id));
        let refused = peers.add(address(3, ids[0]), None, now);
        assert!(matches!(refused, Err(AddError::Unfit(why)) if why.contains("change peering.peers")));
        let peers = open();
        assert_eq!(peers.iter().count(), 2);
        let known = peers.get(&id).unwrap();
        assert_eq!((known.address.host.as_str(), known.alias.as_deref()), ("192.0.2.2", Some("two")));
        let mut peers = open();
        assert_eq!(peers.add(address(3, ids[1]), None, now), Ok(id));
        let peers = open();
        let known = peers.get(&id).unwrap();
        assert_eq!((known.address.host.as_str(), known.alias.as_deref()), ("192.0.2.3", Some("two")));
        let mut peers = open();
        assert_eq!((peers.remove(&id), peers.remove(&id)), (Ok(true), Ok(false)));
        assert_eq!(open().iter().count(), 1);
        let mut peers = open();
        peers.add(address(2, ids[1]), None, now).unwrap();
        let (file, copy) = (folder.path().join(super::FILE), folder.path().join("peering.json.copy"));
        std::fs::write(&file, "{").unwrap();
        assert_eq!(open().iter().count(), 2);
        std::fs::write(&file, "{").unwrap();
        std::fs::write(&copy, "{").unwrap();
        assert_eq!(open().iter().count(), 1);
    }

    #[test]
    fn nobody_is_dialled_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let id = "12D3KooWGdr8M5KX8KuKaXSiKfHJstdVnRkadYmupF7tFk2HrRoA";
        let configured = [NamedPeer { address: address(1, id), alias: None }];
        let now = Instant::now();
        let mut peers = KnownPeers::open(folder.path(), &configured, now);
        let attempts =
            (0..600).filter(|second| !peers.due(|_| false, now + Duration::from_secs(*second)).is_empty());
        assert!((20..=28).contains(&attempts.count()));
        assert!(peers.due(|_| true, now + Duration::from_secs(10_000)).is_empty());
    }
}

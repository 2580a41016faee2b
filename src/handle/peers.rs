//! The node's peers, as ports see and change them.

use tokio::sync::{mpsc, oneshot};

use super::Unavailable;
use crate::config::PeerAddress;
use crate::gossip::PeerState;
use crate::gossip::peer::Relation;

/// Requests that may wait.
const REQUESTS: usize = 16;

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its identity, in base58.
    pub id: String,
    /// Where it is, as multiaddresses without the identity.
    pub addresses: Vec<String>,
    /// What its owner calls it.
    pub alias: Option<String>,
    /// Whether it was named.
    pub relation: Relation,
    /// What is known of it, when it is connected.
    pub state: Option<PeerState>,
}

/// Why a peer is not named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// What is wrong with what was asked for.
    #[error("{0}")]
    Unfit(String),
    /// The list cannot be written.
    #[error("the list of peers cannot be written: {0}")]
    File(String),
}

/// Something only the owner of the connections can do.
#[derive(Debug)]
pub enum PeerRequest {
    /// All peers: those that were named, and those that are connected.
    List {
        /// Ascending by identity.
        reply: oneshot::Sender<Vec<PeerInfo>>,
    },
    /// Keep up a connection, also after a restart. One that is named already stays as it is.
    Add {
        /// Where it is.
        address: PeerAddress,
        /// What to call it.
        alias: Option<String>,
        /// The peer, or why not.
        reply: oneshot::Sender<Result<PeerInfo, AddError>>,
    },
    /// End a connection, and keep it up no longer.
    Remove {
        /// Whose.
        id: String,
        /// Whether there was such a peer; or why the list cannot be written.
        reply: oneshot::Sender<Result<bool, String>>,
    },
}

/// A way to them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Peers(mpsc::Sender<PeerRequest>);

impl Peers {
    /// The handle, and the end at which requests come out.
    pub fn new() -> (Self, mpsc::Receiver<PeerRequest>) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        (Self(sender), requests)
    }

    /// All of them.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn list(&self) -> Result<Vec<PeerInfo>, Unavailable> {
        self.ask(|reply| PeerRequest::List { reply }).await
    }

    /// Names a peer.
    ///
    /// # Errors
    /// [`Unavailable`]; within it, why not.
    pub async fn add(
        &self,
        address: PeerAddress,
        alias: Option<String>,
    ) -> Result<Result<PeerInfo, AddError>, Unavailable> {
        self.ask(|reply| PeerRequest::Add { address, alias, reply }).await
    }

    /// Takes a peer's name back.
    ///
    /// # Errors
    /// [`Unavailable`]; within it, why not.
    pub async fn remove(&self, id: String) -> Result<Result<bool, String>, Unavailable> {
        self.ask(|reply| PeerRequest::Remove { id, reply }).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> PeerRequest,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(request(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unavailable::Busy,
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopping,
        })?;
        answer.await.map_err(|_| Unavailable::Stopping)
    }
}

//! `peers`: who this node is connected to, and who it is to be (TIP-25).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::{Api, Segment};
use crate::config::PeerAddress;
use crate::gossip::PeerState;
use crate::gossip::peer::Relation;
use crate::gossip::wire::Heartbeat;
use crate::handle::peers::{AddError, PeerInfo};

/// Whom to add.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddRequest {
    multi_address: String,
    #[serde(default)]
    alias: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PeerJson {
    id: String,
    multi_addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    relation: &'static str,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    gossip: Option<GossipJson>,
}

#[derive(Serialize)]
struct GossipJson {
    heartbeat: HeartbeatJson,
    metrics: MetricsJson,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeartbeatJson {
    solid_milestone_index: u32,
    pruned_milestone_index: u32,
    latest_milestone_index: u32,
    connected_peers: u8,
    synced_peers: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MetricsJson {
    new_blocks: u32,
    known_blocks: u32,
    received_blocks: u32,
    received_block_requests: u32,
    received_milestone_requests: u32,
    received_heartbeats: u32,
    sent_blocks: u32,
    sent_block_requests: u32,
    sent_milestone_requests: u32,
    sent_heartbeats: u32,
    dropped_packets: u32,
}

impl From<PeerInfo> for PeerJson {
    fn from(peer: PeerInfo) -> Self {
        let relation = match peer.relation {
            Relation::Known => "known",
            Relation::Unknown => "unknown",
            Relation::Autopeered => "autopeered",
        };
        Self {
            id: peer.id,
            multi_addresses: peer.addresses,
            alias: peer.alias,
            relation,
            connected: peer.state.is_some(),
            // HORNET: > heartbeat: null before the first one; published clients take no peer with that
            gossip: peer.state.and_then(GossipJson::of),
        }
    }
}

impl GossipJson {
    /// `None` until the peer told where it is.
    fn of(state: PeerState) -> Option<Self> {
        let counters = state.counters;
        Some(Self {
            heartbeat: state.heartbeat?.into(),
            metrics: MetricsJson {
                new_blocks: counters.new_blocks,
                known_blocks: counters.known_blocks,
                received_blocks: counters.received_blocks,
                received_block_requests: counters.received_block_requests,
                received_milestone_requests: counters.received_milestone_requests,
                received_heartbeats: counters.received_heartbeats,
                sent_blocks: counters.sent_blocks,
                sent_block_requests: counters.sent_block_requests,
                sent_milestone_requests: counters.sent_milestone_requests,
                sent_heartbeats: counters.sent_heartbeats,
                dropped_packets: counters.dropped_packets,
            },
        })
    }
}

impl From<Heartbeat> for HeartbeatJson {
    fn from(heartbeat: Heartbeat) -> Self {
        Self {
            solid_milestone_index: heartbeat.solid.0,
            pruned_milestone_index: heartbeat.pruned.0,
            latest_milestone_index: heartbeat.latest.0,
            connected_peers: heartbeat.connected,
            synced_peers: heartbeat.synced,
        }
    }
}

/// All peers.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Vec<PeerJson>>, ApiError> {
    let peers = api.peers.list().await?;
    Ok(Json(peers.into_iter().map(PeerJson::from).collect()))
}

fn check_id(id: &str) -> Result<(), ApiError> {
    if PeerAddress::is_id(id) {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("invalid peerId: {id:?} is no base58 text like 12D3Koo...")))
}

/// One peer.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<PeerJson>, ApiError> {
    check_id(&id)?;
    let peers = api.peers.list().await?;
    let found = peers.into_iter().find(|peer| peer.id == id);
    found.map(|peer| Json(peer.into())).ok_or_else(|| ApiError::not_found(format!("there is no peer {id}")))
}

/// Keeps up a connection from now on.
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    body: axum::body::Bytes,
) -> Result<Json<PeerJson>, ApiError> {
    let wrong =
        |problem: &dyn std::fmt::Display| ApiError::bad_request(format!("invalid request: {problem}"));
    let request: AddRequest = serde_json::from_slice(&body).map_err(|error| {
        wrong(&format!(
            "{error}; write {{\"multiAddress\": \"/ip4/.../tcp/15600/p2p/...\", \"alias\": \"...\"}}"
        ))
    })?;
    let address =
        PeerAddress::parse(&request.multi_address).map_err(|fix| wrong(&format!("multiAddress: {fix}")))?;
    let alias = request.alias.filter(|alias| !alias.is_empty());
    let added = api.peers.add(address, alias).await?;
    added.map(|peer| Json(peer.into())).map_err(|error| match error {
        AddError::Unfit(problem) => wrong(&problem),
        AddError::File(_) => ApiError::failed(error.to_string()),
    })
}

/// Ends a connection for good.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<StatusCode, ApiError> {
    check_id(&id)?;
    // HORNET: > 204, also for a peer that is not there
    match api.peers.remove(id).await? {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(problem) => Err(ApiError::failed(problem)),
    }
}

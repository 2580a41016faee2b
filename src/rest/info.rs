//! `/health`, `/api/routes`, `info` and `tips`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use serde::Serialize;

use super::error::ApiError;
use super::{Api, require_supported, require_synced};
use crate::config::BaseToken;
use crate::handle::Status;
use crate::protocol::PROTOCOL_VERSION;
use crate::protocol::hex;
use crate::protocol::id::BlockId;
use crate::protocol::json_params::ParametersJson;
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::params::Upcoming;
use crate::tangle::tips::Choice;

/// 200 when clients should use this node, else 503; no body.
pub(super) async fn health(State(api): State<Arc<Api>>) -> StatusCode {
    if api.node.is_healthy(unix_seconds()) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[derive(Serialize)]
pub(super) struct Routes {
    routes: [&'static str; 1],
}

pub(super) async fn routes() -> Json<Routes> {
    Json(Routes { routes: ["core/v2"] })
}

/// Tips handed out at once, as HORNET does.
pub(super) const TIPS_PER_SELECTION: usize = 4;

#[derive(Serialize)]
pub(super) struct Tips {
    tips: Vec<String>,
}

/// Parents for a client's block. As for HORNET, `allowSemiLazy` counts in any case, and whatever its value.
pub(super) async fn tips(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Tips>, ApiError> {
    let query = query.unwrap_or_default();
    let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let allowed = names.any(|name| name.eq_ignore_ascii_case("allowSemiLazy"));
    let tips = select_tips(&api, if allowed { Choice::SemiLazyAllowed } else { Choice::NonLazy }).await?;
    Ok(Json(Tips { tips: tips.iter().map(BlockId::to_string).collect() }))
}

/// 1 to 4 tips.
///
/// # Errors
/// 503 while the node is not synced or knows no block.
pub(super) async fn select_tips(api: &Api, choice: Choice) -> Result<Vec<BlockId>, ApiError> {
    require_synced(&api.node)?;
    require_supported(&api.node)?;
    let tips = api.node.tips(TIPS_PER_SELECTION, choice).await?;
    if tips.is_empty() {
        return Err(ApiError::unavailable("there is no block to build on yet"));
    }
    Ok(tips)
}

/// TIP-25 `info`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Info {
    name: &'static str,
    version: &'static str,
    status: InfoStatus,
    supported_protocol_versions: [u8; 1],
    protocol: ParametersJson,
    pending_protocol_parameters: Vec<Pending>,
    base_token: BaseToken,
    metrics: Metrics,
    features: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InfoStatus {
    is_healthy: bool,
    latest_milestone: Milestone,
    confirmed_milestone: Milestone,
    pruning_index: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Milestone {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milestone_id: Option<String>,
}

impl From<MilestoneStamp> for Milestone {
    fn from(stamp: MilestoneStamp) -> Self {
        // Before the first milestone there is neither time nor id to tell.
        let issued = stamp.index.0 != 0;
        Self {
            index: stamp.index.0,
            timestamp: issued.then_some(stamp.timestamp),
            milestone_id: issued.then(|| stamp.id.to_string()),
        }
    }
}

/// Parameters that a milestone announced.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pending {
    #[serde(rename = "type")]
    kind: u8,
    target_milestone_index: u32,
    protocol_version: u8,
    params: String,
}

impl From<&Upcoming> for Pending {
    fn from(next: &Upcoming) -> Self {
        Self {
            kind: 1,
            target_milestone_index: next.target.0,
            protocol_version: next.protocol_version,
            params: hex::encode(&next.params),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    blocks_per_second: f64,
    referenced_blocks_per_second: f64,
    referenced_rate: f64,
}

/// Never waits for anything: it answers from the watched status.
pub(super) async fn info(State(api): State<Arc<Api>>) -> Json<Info> {
    let status = api.node.status_now();
    let facts = &api.node.facts;
    Json(Info {
        name: "Osmia",
        version: env!("CARGO_PKG_VERSION"),
        status: info_status(&status, api.node.is_healthy(unix_seconds())),
        supported_protocol_versions: [PROTOCOL_VERSION],
        protocol: ParametersJson::from_params(&status.network.params),
        pending_protocol_parameters: status.upcoming.iter().map(Pending::from).collect(),
        base_token: facts.base_token.clone(),
        metrics: Metrics {
            blocks_per_second: status.rates.blocks_per_second,
            referenced_blocks_per_second: status.rates.referenced_blocks_per_second,
            referenced_rate: status.rates.referenced_rate,
        },
        features: api.miner.iter().map(|_| "pow").collect(),
    })
}

fn info_status(status: &Status, is_healthy: bool) -> InfoStatus {
    InfoStatus {
        is_healthy,
        latest_milestone: status.latest.into(),
        confirmed_milestone: status.confirmed.into(),
        pruning_index: status.pruning_index.0,
    }
}

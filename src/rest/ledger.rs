//! `treasury`, `receipts`, `utxo-changes`, `whiteflag`: the ledger as a whole.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::{Api, Segment, milestones, path_id, read, read_long, require_synced};
use crate::ledger::whiteflag::{self, Question};
use crate::protocol::block::Parents;
use crate::protocol::hex;
use crate::protocol::id::{BlockId, MilestoneId, MilestoneIndex, OutputId};
use crate::protocol::json_transaction::OptionJson;
use crate::protocol::milestone::MilestoneOption;

/// Most receipts in an answer.
const MAX_RESULTS: usize = 1_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Treasury {
    milestone_id: String,
    amount: String,
}

pub(super) async fn treasury(State(api): State<Arc<Api>>) -> Result<Json<Treasury>, ApiError> {
    let treasury = read(&api.node, crate::store::Reader::treasury)?;
    let (milestone_id, amount) = (treasury.milestone.to_string(), treasury.amount.to_string());
    Ok(Json(Treasury { milestone_id, amount }))
}

#[derive(Serialize)]
pub(super) struct Receipts {
    receipts: Vec<ReceiptEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptEntry {
    receipt: OptionJson,
    milestone_index: u32,
}

/// The receipts of all milestones that are not pruned.
pub(super) async fn receipts(State(api): State<Arc<Api>>) -> Result<Json<Receipts>, ApiError> {
    receipts_where(&api, |_| true).await
}

/// Those of one legacy milestone.
pub(super) async fn receipts_migrated_at(
    State(api): State<Arc<Api>>,
    Segment(index): Segment,
) -> Result<Json<Receipts>, ApiError> {
    let wanted = milestones::parse_index(&index)?;
    receipts_where(&api, move |migrated_at| migrated_at == wanted.0).await
}

async fn receipts_where(
    api: &Api,
    wanted: impl Fn(u32) -> bool + Send + 'static,
) -> Result<Json<Receipts>, ApiError> {
    let found = read_long(&api.node, move |reader| {
        let mut found = Vec::new();
        for index in reader.receipt_milestones()? {
            let Some(stored) = reader.milestone(index)? else { continue };
            let receipt = stored.milestone.essence.options.receipt().cloned();
            let Some(receipt) = receipt.filter(|receipt| wanted(receipt.migrated_at)) else { continue };
            let receipt = OptionJson::from_option(&MilestoneOption::Receipt(receipt));
            found.push(ReceiptEntry { receipt, milestone_index: index.0 });
            if found.len() >= MAX_RESULTS {
                break;
            }
        }
        Ok(found)
    });
    Ok(Json(Receipts { receipts: found.await? }))
}

/// What a milestone did to the ledger, as ids.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangesAnswer {
    index: u32,
    created_outputs: Vec<String>,
    consumed_outputs: Vec<String>,
}

pub(super) async fn changes_by_index(
    State(api): State<Arc<Api>>,
    Segment(index): Segment,
) -> Result<Json<ChangesAnswer>, ApiError> {
    changes(&api, milestones::parse_index(&index)?).await
}

pub(super) async fn changes_by_id(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<ChangesAnswer>, ApiError> {
    let id = MilestoneId(path_id("milestoneId", &id)?);
    let index = read(&api.node, |reader| reader.milestone_index(&id))?;
    changes(&api, index.ok_or_else(|| ApiError::not_found(format!("milestone {id} not found")))?).await
}

async fn changes(api: &Api, index: MilestoneIndex) -> Result<Json<ChangesAnswer>, ApiError> {
    let changes = read_long(&api.node, move |reader| reader.changes(index)).await?;
    let (created, consumed) =
        changes.ok_or_else(|| ApiError::not_found(format!("milestone index {index} not found")))?;
    // HORNET: > ids ascend
    let texts = |mut ids: Vec<OutputId>| {
        ids.sort_unstable();
        ids.iter().map(OutputId::to_string).collect()
    };
    Ok(Json(ChangesAnswer {
        index: index.0,
        created_outputs: texts(created),
        consumed_outputs: texts(consumed),
    }))
}

/// A milestone to be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WhiteFlagRequest {
    index: u32,
    timestamp: u32,
    parents: Vec<String>,
    previous_milestone_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Roots {
    inclusion_merkle_root: String,
    applied_merkle_root: String,
}

/// The roots that a milestone would have.
pub(super) async fn white_flag(
    State(api): State<Arc<Api>>,
    body: axum::body::Bytes,
) -> Result<Json<Roots>, ApiError> {
    let refuse = |error: &dyn std::fmt::Display| ApiError::bad_request(format!("invalid request: {error}"));
    let request: WhiteFlagRequest = serde_json::from_slice(&body).map_err(|error| refuse(&error))?;
    require_synced(&api.node)?;
    let parents = request.parents.iter().map(|text| BlockId::from_hex(text)).collect::<Result<Vec<_>, _>>();
    let parents = parents.map_err(|error| refuse(&error))?;
    let question = Question {
        index: MilestoneIndex(request.index),
        timestamp: request.timestamp,
        parents: Parents::from_unsorted(parents).map_err(|error| refuse(&error))?,
        previous: MilestoneId::from_hex(&request.previous_milestone_id).map_err(|error| refuse(&error))?,
    };
    // HORNET: > 503 unless it is the milestone after the confirmed one
    let next = api.node.status_now().confirmed.index.next();
    if question.index != next {
        return Err(ApiError::unavailable(format!(
            "white flag: index {} is not that of the next milestone, {next}",
            question.index
        )));
    }
    match api.node.white_flag(question).await? {
        Ok(roots) => Ok(Json(Roots {
            inclusion_merkle_root: hex::encode(&roots.inclusion_merkle_root),
            applied_merkle_root: hex::encode(&roots.applied_merkle_root),
        })),
        Err(error @ (whiteflag::Error::Missing(_) | whiteflag::Error::View(_))) => {
            Err(ApiError::unavailable(format!("white flag: {error}")))
        }
        Err(error @ whiteflag::Error::Previous { .. }) => {
            Err(ApiError::bad_request(format!("white flag: {error}")))
        }
    }
}

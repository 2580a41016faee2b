//! `outputs`, `transactions/…/included-block`: what the ledger knows of an output.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use super::error::ApiError;
use super::{Api, Segment, blocks, media, path_id, read, require_synced};
use crate::protocol::hex;
use crate::protocol::id::{BlockId, OutputId, TransactionId};
use crate::protocol::json_output::OutputJson;
use crate::store::{self, Reader};

/// TIP-25 output metadata.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    block_id: String,
    transaction_id: String,
    output_index: u16,
    is_spent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    milestone_index_spent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milestone_timestamp_spent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id_spent: Option<String>,
    milestone_index_booked: u32,
    milestone_timestamp_booked: u32,
    ledger_index: u32,
}

#[derive(Serialize)]
struct Answer {
    metadata: Metadata,
    output: OutputJson,
}

/// What is known of an output, and its binary form.
struct Found {
    metadata: Metadata,
    output: crate::protocol::output::Output,
}

fn find(reader: &Reader, id: &OutputId) -> Result<Option<Found>, store::Error> {
    // Before the output: what is spent meanwhile is told as it was.
    let ledger_index = reader.ledger_index().0;
    let Some(record) = reader.output(id)? else { return Ok(None) };
    let time = |index| Ok::<_, store::Error>(reader.milestone(index)?.map(|found| found.stamp().timestamp));
    let spent_at = record.spent.map(|(_, index)| time(index)).transpose()?.flatten();
    let booked = record.booked;
    let metadata = Metadata {
        block_id: booked.block.to_string(),
        transaction_id: id.transaction.to_string(),
        output_index: id.index,
        is_spent: record.spent.is_some(),
        milestone_index_spent: record.spent.map(|(_, index)| index.0),
        milestone_timestamp_spent: spent_at,
        transaction_id_spent: record.spent.map(|(transaction, _)| transaction.to_string()),
        milestone_index_booked: booked.index.0,
        milestone_timestamp_booked: booked.timestamp,
        ledger_index,
    };
    Ok(Some(Found { metadata, output: booked.output }))
}

fn found(api: &Api, text: &str) -> Result<Found, ApiError> {
    let id = output_id(text)?;
    let found = read(&api.node, |reader| find(reader, &id))?;
    found.ok_or_else(|| ApiError::not_found(format!("output {id} not found")))
}

/// As [`path_id`], of 34 bytes.
fn output_id(text: &str) -> Result<OutputId, ApiError> {
    let bytes = hex::decode("outputId", text).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let mut id = [0; OutputId::BYTES];
    let length = bytes.len().min(id.len());
    id[..length].copy_from_slice(&bytes[..length]);
    Ok(OutputId::from_bytes(&id))
}

/// An output, with its metadata in JSON, alone in binary form.
pub(super) async fn output(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Found { metadata, output } = found(&api, &id)?;
    Ok(media::answer(media::wanted(&headers), output.to_bytes(), || Answer {
        metadata,
        output: OutputJson::from_output(&output),
    }))
}

/// Where an output came from, and what became of it.
pub(super) async fn metadata(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<Metadata>, ApiError> {
    Ok(Json(found(&api, &id)?.metadata))
}

/// The block that brought a transaction into the ledger.
fn included_in(api: &Api, transaction: &str) -> Result<BlockId, ApiError> {
    let transaction = TransactionId(path_id("transactionId", transaction)?);
    // Every transaction has a first output.
    let id = OutputId { transaction, index: 0 };
    let record = read(&api.node, |reader| reader.output(&id))?;
    let block = record.map(|record| record.booked.block).filter(|block| *block != BlockId::ZERO);
    block.ok_or_else(|| {
        ApiError::not_found(format!("no block with transaction {transaction} is in the ledger"))
    })
}

pub(super) async fn included_block(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let block = included_in(&api, &id)?;
    blocks::by_id(&api, block, &headers)
}

pub(super) async fn included_block_metadata(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<blocks::Metadata>, ApiError> {
    // Before it is looked for, as in HORNET.
    require_synced(&api.node)?;
    let block = included_in(&api, &id)?;
    blocks::metadata_of(&api, block).await
}

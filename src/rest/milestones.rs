//! `milestones`: by id and by index.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::error::ApiError;
use super::{Api, Segment, media, path_id, read};
use crate::protocol::id::{MilestoneId, MilestoneIndex};
use crate::protocol::json::MilestoneJson;
use crate::store::StoredMilestone;

/// A confirmed milestone by its id.
pub(super) async fn by_id(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = MilestoneId(path_id("milestoneId", &id)?);
    let found = read(&api.node, |reader| match reader.milestone_index(&id)? {
        Some(index) => reader.milestone(index),
        None => Ok(None),
    })?;
    let milestone = found.ok_or_else(|| ApiError::not_found(format!("milestone {id} not found")))?;
    Ok(answer(&headers, milestone))
}

/// A confirmed milestone by its index.
pub(super) async fn by_index(
    State(api): State<Arc<Api>>,
    Segment(index): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let index = parse_index(&index)?;
    let found = read(&api.node, |reader| reader.milestone(index))?;
    let milestone = found.ok_or_else(|| ApiError::not_found(format!("milestone index {index} not found")))?;
    Ok(answer(&headers, milestone))
}

/// A milestone's index in a path.
pub(super) fn parse_index(text: &str) -> Result<MilestoneIndex, ApiError> {
    // HORNET: > digits alone; Rust reads a sign, too
    let number = Some(text).filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok());
    number.map(MilestoneIndex).ok_or_else(|| {
        ApiError::bad_request(format!("milestone index: {text:?} is no number from 0 to 4294967295"))
    })
}

fn answer(headers: &HeaderMap, stored: StoredMilestone) -> Response {
    let StoredMilestone { milestone, payload, .. } = stored;
    media::answer(media::wanted(headers), payload, || MilestoneJson::from_milestone(&milestone))
}

//! JSON or the binary form of TIP-21: which one a client sends and wants.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;

const BINARY: &str = "application/vnd.iota.serializer-v1";
pub(super) const JSON: &str = "application/json";

/// Form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Binary,
}

/// The form a request's body says it has.
pub(super) fn sent(headers: &HeaderMap) -> Result<Form, ApiError> {
    let kind = text(headers, header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(JSON) {
        Ok(Form::Json)
    } else if kind.eq_ignore_ascii_case(BINARY) {
        Ok(Form::Binary)
    } else {
        Err(ApiError::media_type(&format!("{JSON} or {BINARY}")))
    }
}

/// The form a client wants: binary when that is what `Accept` begins with, JSON for everything else, as in
/// HORNET.
pub(super) fn wanted(headers: &HeaderMap) -> Form {
    if text(headers, header::ACCEPT).starts_with(BINARY) { Form::Binary } else { Form::Json }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Answers in the form the client wants.
pub(super) fn answer<T: Serialize>(form: Form, bytes: Vec<u8>, json: impl FnOnce() -> T) -> Response {
    match form {
        Form::Json => Json(json()).into_response(),
        Form::Binary => ([(header::CONTENT_TYPE, BINARY)], bytes).into_response(),
    }
}

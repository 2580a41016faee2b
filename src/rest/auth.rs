//! Who may use which route: patterns of paths, and tokens, or the owner's password, for what is not public.
//!
//! Patterns are matched against the whole path, from its beginning, without the query: HORNET matches anywhere in the
//! request's line, so that `/api/core/v2/control/database/prune?/health` is public there.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use super::error::ApiError;
use crate::token::Tokens;

/// Routes that nobody needs a token for; `*` at the end stands for anything.
const PUBLIC: [&str; 19] = [
    "/health",
    "/api/routes",
    "/api/core/v2/info",
    "/api/core/v2/tips",
    "/api/core/v2/blocks*",
    "/api/core/v2/transactions*",
    "/api/core/v2/milestones*",
    "/api/core/v2/outputs*",
    "/api/core/v2/treasury",
    "/api/core/v2/receipts*",
    "/api/debug/v1/*",
    "/api/indexer/v1/*",
    "/api/mqtt/v1",
    "/api/participation/v1/events*",
    "/api/participation/v1/outputs*",
    "/api/participation/v1/addresses*",
    "/api/core/v0/*",
    "/api/core/v1/*",
    "/api/poi/v1/validate",
];

/// Routes that a token is needed for. What is neither is forbidden.
const PROTECTED: [&str; 1] = ["/api/*"];

/// Before a wrong password is answered.
const WRONG_PASSWORD: Duration = Duration::from_secs(1);

/// Lets a request through that may use its route.
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    // HORNET: > HEAD is answered nowhere
    if request.method() == Method::HEAD {
        return Err(ApiError::method_not_allowed());
    }
    let path = request.uri().path().to_ascii_lowercase();
    if matches(&PUBLIC, &path) {
        return Ok(next.run(request).await);
    }
    if !matches(&PROTECTED, &path) {
        return Err(ApiError::forbidden());
    }
    if let Some((password, given)) = api.password.as_ref().zip(credentials(request.headers(), "basic")) {
        if !password.opens(given) {
            // Not longer, however many guess: each holds a connection meanwhile. Told once in that time.
            let first = api.guesses.try_acquire();
            if first.is_ok() {
                tracing::warn!("a wrong password was shown");
            }
            tokio::time::sleep(WRONG_PASSWORD).await;
            drop(first);
            return Err(ApiError::unauthorized("wrong user or password"));
        }
        return Ok(next.run(request).await);
    }
    let token = credentials(request.headers(), "bearer")
        .ok_or_else(|| ApiError::bad_request("missing or malformed jwt"))?;
    check_token(&api.tokens, token)?;
    Ok(next.run(request).await)
}

fn matches(patterns: &[&str], path: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == *pattern,
    })
}

/// What a request shows: `Authorization: Bearer …`, or another scheme, in any case.
fn credentials<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let (scheme, given) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let given = given.trim();
    (scheme.eq_ignore_ascii_case(wanted) && !given.is_empty()).then_some(given)
}

fn check_token(tokens: &Tokens, token: &str) -> Result<(), ApiError> {
    tokens
        .check(token, super::info::unix_seconds())
        .map_err(|error| ApiError::unauthorized(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{PROTECTED, PUBLIC, matches};

    #[test]
    fn patterns_are_anchored() {
        for public in ["/health", "/api/core/v2/blocks/0x12/metadata", "/api/core/v2/receipts/5"] {
            assert!(matches(&PUBLIC, public), "{public}");
        }
        for protected in [
            "/api/core/v2/peers",
            "/api/core/v2/info/",
            "/api/core/v2/infox",
            "/api/core/v2/whiteflag",
            "/api/core/v2/control/database/prune",
            "/api/core/v2/peers/health",
        ] {
            assert!(!matches(&PUBLIC, protected) && matches(&PROTECTED, protected), "{protected}");
        }
        for forbidden in ["/", "/api", "/nonsense", "//api/core/v2/info", "/x/health"] {
            assert!(!matches(&PUBLIC, forbidden) && !matches(&PROTECTED, forbidden), "{forbidden}");
        }
    }
}

//! One error type for every netlink action.

use std::fmt;

use netlink_socket2::ReplyError;

/// Result of a netlink action.
pub type Result<T> = std::result::Result<T, NetError>;

/// A failed netlink action: what was attempted, and what the kernel or codec said.
///
/// Keeps the [`ReplyError`] instead of an `io::Error`: the conversion to
/// `io::Error` would drop the kernel's extended-ack text.
#[derive(Debug)]
pub struct NetError {
    action: String,
    source: Option<ReplyError>,
}

impl NetError {
    /// An error found by this program, not reported by the kernel.
    pub fn new(action: impl Into<String>) -> Self {
        Self { action: action.into(), source: None }
    }

    /// The errno the kernel answered, if it answered one.
    pub fn errno(&self) -> Option<i32> {
        self.source.as_ref()?.as_io_error().raw_os_error()
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.action),
            None => f.write_str(&self.action),
        }
    }
}

impl std::error::Error for NetError {}

/// Names the action that failed. Works on `io::Error`, `ReplyError` and the
/// decoder's `ErrorContext`, which all convert into `ReplyError`.
pub trait During<T> {
    /// Attach the action to an error.
    fn during(self, action: &str) -> Result<T>;
}

impl<T, E: Into<ReplyError>> During<T> for std::result::Result<T, E> {
    fn during(self, action: &str) -> Result<T> {
        self.map_err(|error| NetError { action: action.to_owned(), source: Some(error.into()) })
    }
}

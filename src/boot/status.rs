//! What a board says about itself: on the status page, in `status.json`, by its light and on its display.

use serde::Serialize;

/// The six states a board can be in; each has a pattern of the activity light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not there yet; nothing to do but wait.
    #[default]
    Starting,
    /// The node works and clients may use it.
    Healthy,
    /// The node works, but clients should not use it yet: no milestones, no peers, no trusted time.
    Unhealthy,
    /// Nothing goes on before the owner changes something.
    NeedsOwner,
    /// The node does not work; the board keeps trying.
    Failing,
    /// Going down in order.
    Stopping,
}

impl State {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "running, but not ready for clients",
            Self::NeedsOwner => "needs you",
            Self::Failing => "not working, trying again",
            Self::Stopping => "stopping",
        }
    }
}

/// Everything that is told. Plain words; no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Status {
    /// One of six.
    pub state: State,
    /// Why, in one line; empty when there is nothing to explain.
    pub why: String,
    /// What the owner can do about it; empty when nothing.
    pub what_to_do: String,
    /// What else the owner should know.
    pub notices: Vec<String>,
    /// Name of the board file.
    pub board: String,
    /// Of this program.
    pub version: String,
    /// Name in the network.
    pub host_name: String,
    /// Addresses the board got.
    pub addresses: Vec<String>,
    /// What another node's `network.join` has to be to join this one's network.
    pub join: Option<String>,
    /// Index of the newest confirmed milestone, once the node said one.
    pub confirmed_milestone: Option<u32>,
    /// Where the time comes from.
    pub clock: String,
    /// Temperature of the processor, in degrees Celsius, where it is measured.
    pub temperature_c: Option<i32>,
    /// Spare computing power in hashes of proof of work, where the node tells.
    pub spare_hashes_per_s: Option<u64>,
    /// Bytes that the node wrote to disk since its start, in whole pages.
    pub written_bytes: Option<u64>,
    /// Bytes of the blocks that it stored meanwhile.
    pub block_bytes: Option<u64>,
    /// Seconds since the start.
    pub uptime_s: u64,
}

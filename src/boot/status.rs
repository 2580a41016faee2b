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

/// Of the node's own words, that many are kept, and that many letters of each.
const NODE_NOTICES: usize = 8;
const NOTICE_LETTERS: usize = 300;

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
    /// The same, of the node: how it healed itself.
    pub node_did: Vec<String>,
    /// Name of the board file.
    pub board: String,
    /// Of this program.
    pub version: String,
    /// Name in the network.
    pub host_name: String,
    /// Addresses the board got.
    pub addresses: Vec<String>,
    /// Who reaches the REST API.
    pub firewall: String,
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
    /// The data partition cannot be used; only a start with another one ends that.
    #[serde(skip)]
    lost_disk: bool,
    /// The owner's configuration has a mistake, which the page tells until the next start.
    #[serde(skip)]
    mistaken: bool,
}

impl Status {
    /// Of a board that starts.
    pub fn new(board: &str, version: &str) -> Self {
        Self { board: board.to_owned(), version: version.to_owned(), ..Self::default() }
    }

    /// How the node is. Nothing once the data partition is lost: a node that is being stopped may still say that it is
    /// healthy. A mistake in the configuration stays on the page.
    pub fn tell(&mut self, state: State, why: &str, what_to_do: &str) {
        if !self.lost_disk {
            self.state = state;
            self.explain(why, what_to_do);
        }
    }

    /// Why that is so, where nothing else is to be told first.
    pub fn explain(&mut self, why: &str, what_to_do: &str) {
        if !self.lost_disk && !self.mistaken {
            (self.why, self.what_to_do) = (why.to_owned(), what_to_do.to_owned());
        }
    }

    /// What the node did by itself, and its owner should know. It is no trusted source: of its last few words, a line each is
    /// shown.
    pub fn node_did(&mut self, text: &str) {
        let line =
            text.chars().filter(|letter| !letter.is_control()).take(NOTICE_LETTERS).collect::<String>();
        self.node_did.retain(|before| *before != line);
        self.node_did.push(line);
        if self.node_did.len() > NODE_NOTICES {
            self.node_did.remove(0);
        }
    }

    /// A mistake in the configuration, which is told even while the node works.
    pub fn mistake(&mut self, mistake: &str) {
        let what_to_do =
            "Switch off, mend the file on the card's first partition in any computer, switch on again.";
        self.explain(mistake, what_to_do);
        self.mistaken = true;
    }

    /// The data partition is gone, broken or read-only.
    pub fn lose_disk(&mut self, problem: &str) {
        self.mistaken = false;
        let why = format!("The data partition cannot be used: {problem}. The node is stopped.");
        let what_to_do =
            "Check or replace the card or disk, then switch off and on. Nothing was formatted or deleted.";
        self.tell(State::NeedsOwner, &why, what_to_do);
        self.lost_disk = true;
    }

    /// Whether there is a data partition, as far as is known.
    pub fn has_disk(&self) -> bool {
        !self.lost_disk
    }

    /// The board goes down in order, whatever was.
    pub fn stop(&mut self) {
        self.state = State::Stopping;
        (self.why, self.what_to_do) = (String::new(), String::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_being_stopped_does_not_hide_a_lost_disk() {
        let mut status = Status::default();
        status.tell(State::Healthy, "", "");
        status.lose_disk("it is read-only");
        let told = status.clone();
        assert_eq!(told.state, State::NeedsOwner);
        assert!(told.why.contains("data partition cannot be used: it is read-only"), "{}", told.why);
        // What it had said before it was told to stop, and what its last breath was.
        status.tell(State::Healthy, "", "");
        status.tell(State::Failing, "I/O error", "");
        status.lose_disk("it does not answer");
        assert_eq!(status, told);
        status.explain("I/O error", "");
        assert_eq!(status, told);
        status.stop();
        assert_eq!((status.state, status.why.as_str()), (State::Stopping, ""));
    }

    #[test]
    fn of_the_nodes_words_the_last_few_are_kept() {
        let mut status = Status::new("test", "1");
        (0..20).for_each(|number| status.node_did(&format!("healed {number}")));
        status.node_did("healed 18");
        status.node_did(&"x\n".repeat(1_000));
        assert_eq!(status.node_did.len(), 8);
        assert_eq!(status.node_did[6], "healed 18");
        assert_eq!(status.node_did[7], "x".repeat(300));
    }

    #[test]
    fn a_mistake_stays_while_the_node_works_and_yields_to_a_lost_disk() {
        let mut status = Status::default();
        status.mistake("host_name: too long");
        status.tell(State::Healthy, "", "");
        status.explain("a warning", "");
        assert_eq!((status.state, status.why.as_str()), (State::Healthy, "host_name: too long"));
        assert!(status.what_to_do.contains("mend the file"), "{}", status.what_to_do);
        status.lose_disk("it is gone");
        assert!(status.why.contains("it is gone"), "{}", status.why);
    }
}

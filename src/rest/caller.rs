//! Who made a request, and whether he is still there.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::mining::Client;

/// How often a request that takes long is looked after.
const LOOK: Duration = Duration::from_millis(500);

/// The other end of the connection that a request came by.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// For a fair share of what is scarce.
    pub(super) client: Client,
    /// When the connection was accepted.
    pub(super) since: Instant,
    /// A second handle of the connection, as the first one belongs to the HTTP server, which does not look at it while
    /// there are bytes that it has not yet read.
    connection: Arc<OwnedFd>,
}

impl Caller {
    pub(super) fn new(address: IpAddr, connection: &impl AsFd) -> io::Result<Self> {
        let connection = connection.as_fd().try_clone_to_owned()?;
        Ok(Self { client: client(address), since: Instant::now(), connection: Arc::new(connection) })
    }

    /// Resolves when nobody waits for an answer any more.
    pub(super) async fn gone(&self) {
        while !self.is_gone() {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_gone(&self) -> bool {
        let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut polled = [PollFd::new(&*self.connection, PollFlags::RDHUP)];
        // What cannot be asked is taken to be there: its time is limited anyway.
        poll(&mut polled, Some(&Timespec::default())).is_ok() && polled[0].revents().intersects(ends)
    }
}

/// An IPv4 address, or an IPv6 network.
fn client(address: IpAddr) -> Client {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        // One customer has a whole /64; a prefix of zeros could be mistaken for an IPv4 address, and is nobody's.
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}

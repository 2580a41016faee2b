//! PID 1 of a board: mounts, modules, firewall, clock, network, and three children without rights: the node, the
//! status page, the one that asks time servers.
//!
//! Plain threads, no async runtime. Order of a start:
//!
//! 1. kernel file systems, early modules
//! 2. firewall that lets nothing in, before any link exists
//! 3. modules of the devices found, watchdog, card; data partition grown and mounted
//! 4. what the owner wrote, clock floor, firewall as configured, status page, links and DHCP
//! 5. the node; from then on: restart it, feed the watchdog as long as all signs of life come, wait for an order
//!
//! Whatever goes wrong after step 2 is told on the status page and leaves the rest running.

mod children;
mod door;
mod machine;
mod network;
mod orders;
mod owner;
mod probe;
mod service;
mod setup;
mod time;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::boot::button::Wish;
use crate::boot::policy::Sign;
use crate::dhcp::Lease;
use crate::firmware::mount;
use crate::firmware::power::{self, End};
use crate::logging;
use machine::Machine;
use service::Role;

pub use owner::setup_result;

/// What the main loop waits for.
#[derive(Debug)]
enum Event {
    /// A child wrote a line to its standard output.
    Said(Role, String),
    /// A child logged an error.
    Complained(Role, String),
    /// A probe was answered.
    Sign(Sign),
    /// The data partition cannot be written to.
    Disk(String),
    /// A link has this lease, or none any more.
    Lease(u32, Option<Lease>),
    /// What the owner confirmed is kept, or could not be.
    Door { number: u64, kept: bool },
    /// A child ended.
    Child,
    /// The button was pressed.
    Wish(Wish),
    /// Somebody wants the machine to end.
    Order(End),
}

impl From<Wish> for Event {
    fn from(wish: Wish) -> Self {
        Self::Wish(wish)
    }
}

/// Events that may wait: who has more to say waits, which stops a child that floods PID 1.
const QUEUED: usize = 256;

/// Runs the board. Returns only when the kernel refuses to end.
pub fn run() {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("PID 1: {panic}");
        power::sync();
        logging::flush();
        power::end(End::Restart);
    }));
    let started = Instant::now();
    let (events, queue) = mpsc::sync_channel(QUEUED);
    let how = match setup::early() {
        Ok((board, modules)) => {
            orders::listen(&events);
            Machine::new(board, events, started).run(modules, &queue)
        }
        Err(error) => {
            tracing::error!("start failed: {error:#}");
            // Not at once: whoever looks at the console should be able to read it.
            std::thread::sleep(Duration::from_secs(10));
            End::Restart
        }
    };
    tracing::info!(?how, "ending");
    if how != End::Reset {
        power::sync();
        mount::detach(setup::DATA.as_ref());
        mount::detach(setup::BOOT.as_ref());
    }
    logging::flush();
    power::end(how);
}

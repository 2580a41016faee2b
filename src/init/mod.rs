//! PID 1 of a board: mounts, modules, firewall, clock, network, and the node as an unprivileged child.
//!
//! Plain threads, no async runtime. Order of a start:
//!
//! 1. kernel file systems, early modules
//! 2. firewall that lets nothing in, before any link exists
//! 3. modules of the devices found, watchdog, card
//! 4. data partition grown and mounted, owner's configuration read
//! 5. clock floor, firewall as configured, links and DHCP
//! 6. the node; from then on: restart it, feed the watchdog on its progress, wait for an order to stop

mod network;
mod node;
mod orders;
mod setup;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::boot::policy::Feeding;
use crate::config::Config;
use crate::firmware::power::{self, End};
use crate::firmware::watchdog::Watchdog;
use crate::firmware::{clock, mount};
use node::Node;

/// What the main loop waits for.
#[derive(Debug)]
enum Event {
    /// The node said that it is alive.
    Alive,
    /// A child ended.
    Child,
    /// Somebody wants the machine to end.
    Order(End),
}

/// How often the loop turns when nothing happens; the watchdog is fed as often.
const TURN: Duration = Duration::from_secs(1);

/// Runs the board. Returns only when the kernel refuses to end.
pub fn run() {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("PID 1: {panic}");
        power::sync();
        power::end(End::Restart);
    }));
    let started = Instant::now();
    let (events, queue) = mpsc::channel();
    let how = match setup::early() {
        Ok(board) => {
            orders::listen(&events);
            serve(&board, &events, &queue, started)
        }
        Err(error) => fail(&error),
    };
    tracing::info!(?how, "ending");
    power::sync();
    mount::detach(setup::DATA.as_ref());
    mount::detach(setup::BOOT.as_ref());
    power::end(how);
}

/// A start that went wrong is tried again.
fn fail(error: &anyhow::Error) -> End {
    tracing::error!("start failed: {error:#}");
    // Not at once: whoever looks at the console should be able to read it.
    std::thread::sleep(Duration::from_secs(10));
    End::Restart
}

fn serve(
    board: &crate::board::Board,
    events: &mpsc::Sender<Event>,
    queue: &mpsc::Receiver<Event>,
    started: Instant,
) -> End {
    let mut machine = Machine {
        watchdog: None,
        watchdog_s: board.run.watchdog_s,
        feeding: Feeding::new(started),
        node: None,
        clock_saved: started,
    };
    // Growing and mounting a large card may take long: the watchdog is fed meanwhile, within its patience.
    let late = std::thread::spawn(setup::late);
    while !late.is_finished() {
        machine.feed();
        std::thread::sleep(Duration::from_millis(100));
    }
    match late.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return fail(&error),
        Err(_) => return fail(&anyhow::anyhow!("setting up panicked")),
    }
    match setup::config() {
        Ok(config) => machine.configured(&config, events),
        Err(error) => {
            tracing::error!("not started: {error:#}");
            tracing::error!("switch off, mend node.toml on the card's boot partition, switch on again");
            machine.feeding.wait_for_person();
        }
    }
    tracing::info!(seconds = started.elapsed().as_secs_f32(), "set up");
    let how = machine.wait(queue);
    machine.stop(how, queue)
}

/// What PID 1 keeps an eye on.
struct Machine {
    watchdog: Option<Watchdog>,
    watchdog_s: u32,
    feeding: Feeding,
    node: Option<Node>,
    clock_saved: Instant,
}

impl Machine {
    fn configured(&mut self, config: &Config, events: &mpsc::Sender<Event>) {
        // A firewall that cannot be loaded leaves the board closed, never open.
        if let Err(error) = network::open_ports(config) {
            tracing::error!(%error, "firewall stays closed");
        }
        network::start();
        self.node = Some(Node::new(events.clone()));
    }

    fn wait(&mut self, queue: &mpsc::Receiver<Event>) -> End {
        loop {
            if let Some(node) = &mut self.node {
                node.tend(Instant::now());
            }
            match queue.recv_timeout(TURN) {
                Ok(Event::Alive) => {
                    let now = Instant::now();
                    self.feeding.progressed(now);
                    if let Some(node) = &mut self.node {
                        node.is_alive(now);
                    }
                }
                Ok(Event::Child) => self.reap(),
                Ok(Event::Order(how)) => return how,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.feed();
            if self.clock_saved.elapsed() >= clock::SAVE_EVERY {
                self.save_clock();
            }
        }
    }

    /// The device may appear late, so it is looked for until it is there.
    fn feed(&mut self) {
        if self.watchdog.is_none() {
            match Watchdog::open(self.watchdog_s) {
                Ok(found) => self.watchdog = found,
                Err(error) => tracing::warn!(%error, "watchdog not started"),
            }
        }
        if let Some(watchdog) = &mut self.watchdog
            && self.feeding.may_feed(Instant::now())
        {
            watchdog.feed();
        }
    }

    fn save_clock(&mut self) {
        self.clock_saved = Instant::now();
        if let Err(error) = clock::save(setup::CLOCK.as_ref()) {
            tracing::warn!(%error, "time not saved");
        }
    }

    /// Takes the exit status of every child that ended, orphans included.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            if let Some(node) = self.node.as_mut().filter(|node| node.is(pid)) {
                node.ended(status, Instant::now());
            }
        }
    }

    /// Stops the node, then everything else.
    fn stop(mut self, how: End, queue: &mpsc::Receiver<Event>) -> End {
        tracing::info!(?how, "stopping");
        let deadline = Instant::now() + node::STOP_WITHIN;
        if let Some(node) = &mut self.node {
            node.order_stop();
        }
        while self.node.as_ref().is_some_and(Node::is_running) {
            if Instant::now() >= deadline
                && let Some(node) = &self.node
            {
                node.kill();
            }
            // A process that hangs on a dead card cannot even be killed.
            if Instant::now() >= deadline + node::KILL_WITHIN {
                tracing::error!("the node does not end");
                break;
            }
            if let Ok(Event::Child) = queue.recv_timeout(Duration::from_millis(200)) {
                self.reap();
            }
            if let Some(watchdog) = &mut self.watchdog {
                watchdog.feed();
            }
        }
        self.save_clock();
        // Before a restart it stays armed: should that hang, it resets the board.
        if how == End::PowerOff
            && let Some(watchdog) = self.watchdog.take()
        {
            watchdog.disarm();
        }
        how
    }
}

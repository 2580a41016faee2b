//! The main loop of PID 1, and all that it keeps an eye on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::door::Door;
use super::service::{Role, Service, Spec};
use super::setup;
use super::time::Time;
use super::{Event, QUEUED, children, network, owner, probe};
use crate::board::Board;
use crate::boot::button::Wish;
use crate::boot::minimum;
use crate::boot::policy::{Sign, Vigil};
use crate::boot::resets::Resets;
use crate::boot::status::{State, Status};
use crate::boot::trial::Said;
use crate::config::Config;
use crate::dhcp::Lease;
use crate::files;
use crate::firmware::clock;
use crate::firmware::modules::Modules;
use crate::firmware::power::End;
use crate::firmware::watchdog::Watchdog;
use crate::hardware::{self, line, panel};
use crate::rescue;

/// How often the loop turns when nothing happens; the watchdog is fed as often.
const TURN: Duration = Duration::from_secs(1);

/// A node that has not stopped by then is killed.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// How long a killed node may take to end.
const KILL_WITHIN: Duration = Duration::from_secs(10);

/// Between two measurements of the temperature.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// What must be remembered before a reset is written within this time, or not at all.
const REMEMBER_WITHIN: Duration = Duration::from_secs(5);

/// Gives the node its configuration, whole; who else has a folder there may not read the owner's password.
fn hand_over(text: &str) -> std::io::Result<()> {
    let path = Path::new(setup::CONFIG);
    let (new, node) = (path.with_extension("tmp"), Some(Role::Node.user()));
    fs::write(&new, b"")?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o400))?;
    fs::write(&new, text)?;
    std::os::unix::fs::chown(&new, node, node)?;
    fs::rename(&new, path)
}

/// See the module.
pub(super) struct Machine {
    board: Board,
    events: mpsc::SyncSender<Event>,
    started: Instant,
    watchdog: Option<Watchdog>,
    /// Not in an emulator whose watchdog cannot count.
    may_use_watchdog: bool,
    node: Option<Service>,
    /// Watches the node while it is meant to run.
    vigil: Option<Vigil>,
    /// Turns of the node's engine, as it said last.
    turns: Option<u64>,
    /// How the node is reached by those that want to join its network, without the address.
    gossip: Option<String>,
    /// The node issues the milestones that it tells of.
    issues: bool,
    others: Vec<Service>,
    time: Time,
    leases: BTreeMap<u32, Lease>,
    config: Option<Config>,
    /// There is one with a configuration.
    door: Option<Door>,
    resets: Resets,
    /// Little memory: the node runs in the small profile.
    small: bool,
    /// How somebody wants it to end.
    order: Option<End>,
    status: Status,
    published: Status,
    panel: mpsc::Sender<panel::Message>,
    /// When the temperature was measured last.
    measured: Option<Instant>,
}

impl Machine {
    pub(super) fn new(board: Board, events: mpsc::SyncSender<Event>, started: Instant) -> Self {
        let status = Status::new(&board.name, env!("CARGO_PKG_VERSION"));
        let panel = panel::start(board.run.led.as_deref(), board.run.display_bus.as_deref());
        let no_sources = crate::config::Clock { ntp: Vec::new(), https: Vec::new() };
        Self {
            board,
            events,
            started,
            watchdog: None,
            may_use_watchdog: !setup::has_argument("osmia.watchdog=off"),
            node: None,
            vigil: None,
            turns: None,
            gossip: None,
            issues: true,
            others: Vec::new(),
            time: Time::start(false, no_sources),
            leases: BTreeMap::new(),
            config: None,
            door: None,
            resets: Resets::default(),
            small: false,
            published: Status::default(),
            order: None,
            status,
            panel,
            measured: None,
        }
    }

    /// Runs until an order to end; gives how.
    pub(super) fn run(mut self, modules: Modules, queue: &mpsc::Receiver<Event>) -> End {
        self.add_child(children::rescue());
        self.start_button();
        // Growing and mounting a large card may take long: the watchdog is fed meanwhile, within its patience.
        let data_bytes = u64::from(self.board.image.data_mib) << 20;
        let card = std::thread::spawn(move || {
            let storage = setup::storage(modules, data_bytes);
            let found = owner::read(storage.boot, storage.data.is_ok());
            (found, storage.data)
        });
        let deadline = self.started + Duration::from_secs(180);
        while !card.is_finished() && Instant::now() < deadline {
            self.feed();
            self.publish();
            std::thread::sleep(Duration::from_millis(50));
        }
        let done = if card.is_finished() { card.join().ok() } else { None };
        let (found, data) = done.unwrap_or_else(|| {
            let problem = "the card cannot be read".to_owned();
            (owner::read(Err(problem.clone()), false), Err(problem))
        });
        self.set_up(found, data);
        tracing::info!(seconds = self.started.elapsed().as_secs_f32(), "set up");
        let how = self.wait(queue);
        self.stop(how, queue)
    }

    /// Everything between the card and the node.
    fn set_up(&mut self, found: owner::Found, data: Result<(), String>) {
        self.status.notices.extend(found.notices);
        for notice in &self.status.notices {
            tracing::warn!("{notice}");
        }
        let clock = found.config.as_ref().map(|config| config.clock.clone());
        let clock = clock.unwrap_or_else(|| self.time.configured());
        self.time = Time::start(data.is_ok(), clock);
        self.config = found.config;
        if let Some(config) = &mut self.config {
            self.status.host_name = config.host_name.clone();
            self.door = Some(Door::new(config, &found.text));
            self.add_child(children::time());
        } else if let Err(error) = network::open_ports(None) {
            // A firewall that cannot be loaded leaves the board closed, never open.
            tracing::error!(%error, "firewall stays closed");
        }
        network::start(&self.status.host_name, &self.events);
        if let Some(mistake) = &found.mistake {
            tracing::error!("{mistake}");
            self.status.mistake(mistake);
        }
        if let Err(problem) = data {
            self.lose_disk(&problem);
            return;
        }
        self.resets = Resets::read(&fs::read_to_string(setup::RESETS).unwrap_or_default());
        if found.changed {
            // What was changed may have been the reason.
            self.resets = Resets::default();
            let _ = fs::remove_file(setup::RESETS);
        }
        self.check_minimum();
        if self.config.is_some() {
            if let Err(error) = hand_over(&found.text) {
                tracing::error!(%error, "configuration not handed to the node, which does not start");
                self.config = None;
            }
            probe::api(self.events.clone());
            probe::disk(Path::new(setup::PROBE), self.events.clone());
        }
    }

    /// Tells what is below the minimum; little memory means the small profile.
    fn check_minimum(&mut self) {
        match hardware::machine::facts(Path::new(setup::DATA)) {
            Ok(facts) => {
                self.small = minimum::is_small(&facts);
                for finding in minimum::findings(&facts) {
                    tracing::warn!("below the minimum: {finding}");
                    self.status.notices.push(format!("Below the minimum: {finding}."));
                }
            }
            Err(error) => tracing::warn!(%error, "machine not measured"),
        }
    }

    fn add_child(&mut self, spec: Spec) {
        self.others.push(Service::new(spec, self.events.clone()));
    }

    /// A button whose chip has no driver yet is looked for until devices stop showing up.
    fn start_button(&self) {
        let Some(gpio) = self.board.run.button.clone() else { return };
        let events = self.events.clone();
        std::thread::spawn(move || {
            let until = Instant::now() + setup::LATE_DEVICES_WITHIN;
            loop {
                match line::Line::button(&gpio.chip, gpio.line) {
                    Ok(line) => return line::listen(&line, &events),
                    Err(error) if Instant::now() >= until => return tracing::debug!(%error, "no button"),
                    Err(_) => std::thread::sleep(Duration::from_secs(1)),
                }
            }
        });
    }

    fn wait(&mut self, queue: &mpsc::Receiver<Event>) -> End {
        loop {
            self.tend(Instant::now());
            // All that is queued first: a sign of life may be among it. No more: a child that floods must not hold up the rest.
            for event in queue.try_iter().take(QUEUED) {
                self.take(event, Instant::now());
            }
            if let Some(how) = self.order.take() {
                return how;
            }
            if let Some(reason) = self.vigil.as_ref().and_then(|vigil| vigil.verdict(Instant::now())) {
                return self.reset(reason);
            }
            match queue.recv_timeout(TURN) {
                Ok(event) => self.take(event, Instant::now()),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    fn take(&mut self, event: Event, now: Instant) {
        match event {
            Event::Said(Role::Node, line) => self.node_said(&line, now),
            Event::Said(Role::Time, line) => {
                let before = self.time.trust();
                if let Some(answer) = self.time.said(&line, now) {
                    self.tell_time(answer);
                }
                if self.time.trust() != before {
                    self.tell_trust();
                }
            }
            #[cfg(feature = "attack")]
            Event::Said(Role::Attack, line) => tracing::info!("{line}"),
            #[cfg(feature = "attack")]
            Event::Complained(Role::Attack, _) => {}
            Event::Said(Role::Rescue, _) | Event::Complained(Role::Rescue | Role::Time, _) => {}
            Event::Complained(Role::Node, text) => self.status.explain(&text, ""),
            Event::Sign(sign) => self.sign(sign, now),
            Event::Disk(problem) => self.lose_disk(&problem),
            Event::Lease(link, lease) => self.lease(link, lease),
            Event::Door { number, kept } => {
                if let Some(said) = self.door.as_mut().map(|door| door.kept(number, kept, now)) {
                    self.tell_door(said);
                }
            }
            Event::Child => self.reap(),
            Event::Wish(wish) => self.wish(wish),
            Event::Order(how) => self.order = Some(how),
        }
    }

    fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Show => drop(self.panel.send(panel::Message::Wake)),
            Wish::Stop => self.order = Some(End::PowerOff),
            // What cannot be deleted must not be said to be.
            Wish::AskReset | Wish::Reset if !self.status.has_disk() => {
                tracing::warn!("no factory reset: the data partition cannot be written to");
            }
            Wish::AskReset => drop(self.panel.send(panel::Message::Ask)),
            Wish::Reset => self.order = Some(End::Forget),
        }
    }

    fn sign(&mut self, sign: Sign, now: Instant) {
        if let Some(vigil) = &mut self.vigil {
            vigil.seen(sign, now);
        }
    }

    /// As the node's `supervised` says it.
    fn node_said(&mut self, line: &str, now: Instant) {
        let mut words = line.split(' ');
        match words.next() {
            Some("alive") => {}
            Some("peer") => return self.peer_said(words),
            Some("did") => return self.status.node_did(line.trim_start_matches("did ")),
            Some("firewall") => return self.door_said(words, now),
            Some(_) | None => return,
        }
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (turns, index, timestamp) = (number(), number(), number());
        let healthy = words.next() == Some("healthy");
        let mut number = || words.next().and_then(|word| word.parse().ok());
        self.status.spare_hashes_per_s = number();
        self.status.written_bytes = number();
        self.status.block_bytes = number();
        if turns != self.turns {
            self.turns = turns;
            self.sign(Sign::Engine, now);
        }
        self.status.confirmed_milestone = index.and_then(|index| u32::try_from(index).ok());
        if let Some(timestamp) = timestamp {
            self.time.milestone(timestamp, self.issues);
        }
        #[cfg(feature = "attack")]
        if healthy {
            self.attack();
        }
        match healthy {
            true => self.status.tell(State::Healthy, "", ""),
            false if !self.time.trust().is_trusted() => self.status.tell(
                State::Unhealthy,
                "Nothing confirms the clock yet.",
                "Let the board reach time servers (see clock.ntp), or set health.require_clock = false.",
            ),
            false => self.status.tell(State::Unhealthy, "No recent milestone, or no connected peer.", ""),
        }
    }

    /// `<number> <private|everybody|confirm>`.
    fn door_said<'a>(&mut self, mut words: impl Iterator<Item = &'a str>, now: Instant) {
        let number = words.next().and_then(|number| number.parse().ok());
        if let (Some(number), Some(wish)) = (number, words.next())
            && let (Some(door), Some(config)) = (&mut self.door, &mut self.config)
            && let Some(said) = door.said((number, wish), config, now, &self.events)
        {
            self.tell_door(said);
        }
    }

    fn tell_door(&mut self, said: Said) {
        if let Some(node) = &mut self.node {
            node.say(&format!("firewall {}", said.line()));
        }
    }

    /// `<id> <port, or -> <issues|follows>`.
    fn peer_said<'a>(&mut self, mut words: impl Iterator<Item = &'a str>) {
        if let (Some(id), Some(port), Some(role)) = (words.next(), words.next(), words.next()) {
            let port = port.parse::<u16>().ok();
            self.gossip = port.map(|port| format!("tcp/{port}/p2p/{id}"));
            self.issues = role == "issues";
        }
    }

    /// What a test build does to the node once it is healthy, as the kernel's arguments say.
    #[cfg(feature = "attack")]
    fn attack(&mut self) {
        let Some(pid) = self.node.as_ref().and_then(Service::pid) else { return };
        if setup::has_argument("osmia.attack=panel") {
            crate::attack::panel();
        }
        let works = self.vigil.as_ref().is_some_and(Vigil::works);
        if works && setup::has_argument("osmia.attack=stop") {
            let stopped = rustix::process::kill_process(pid, rustix::process::Signal::STOP);
            tracing::info!(?stopped, "node stopped for a test");
        }
        if works && setup::has_argument("osmia.attack=pull-card") {
            // The kernel waits for whoever uses it.
            std::thread::spawn(
                || tracing::info!(pulled = ?crate::attack::pull_card(), "card pulled for a test"),
            );
        }
        let there = self.others.iter().any(|service| service.role() == Role::Attack);
        if setup::has_argument("osmia.attack=all") && !there {
            self.add_child(children::attack(pid.as_raw_nonzero().get()));
        }
    }

    fn tell_trust(&mut self) {
        let trusted = self.time.trust().is_trusted();
        if let Some(node) = &mut self.node {
            node.say(if trusted { "clock trusted" } else { "clock untrusted" });
        }
    }

    fn lease(&mut self, link: u32, lease: Option<Lease>) {
        let servers = lease.as_ref().map(|lease| lease.ntp.clone()).unwrap_or_default();
        match lease {
            Some(lease) => drop(self.leases.insert(link, lease)),
            None => drop(self.leases.remove(&link)),
        }
        let addresses = self.leases.values().map(|lease| lease.address.to_string());
        self.status.addresses = addresses.collect();
        if self.time.named(link, servers) {
            self.tell_sources();
        }
        self.tell_names();
    }

    /// The name servers of the local network, in the node's ear.
    fn tell_names(&mut self) {
        let names = self.leases.values().flat_map(|lease| &lease.dns).map(ToString::to_string);
        let names = names.collect::<Vec<_>>().join(" ");
        if let Some(node) = &mut self.node {
            node.say(&format!("names {names}"));
        }
    }

    fn tell_sources(&mut self) {
        let line = self.time.sources().line();
        self.tell_time(&line);
    }

    fn tell_time(&mut self, line: &str) {
        if let Some(time) = self.others.iter_mut().find(|service| service.role() == Role::Time) {
            time.say(line);
        }
    }

    fn tend(&mut self, now: Instant) {
        let mut asks_for_sources = false;
        for service in &mut self.others {
            asks_for_sources |= service.tend(now) && service.role() == Role::Time;
        }
        if asks_for_sources {
            self.tell_sources();
        }
        self.tend_node(now);
        if let (Some(door), Some(config)) = (&mut self.door, &mut self.config) {
            let changed = door.tend(config, now);
            self.status.firewall = door.text(config, now);
            let state = door.state(0, now);
            if changed {
                self.tell_door(state);
            }
        }
        self.time.tend();
        self.feed();
        self.publish();
    }

    fn tend_node(&mut self, now: Instant) {
        if self.config.is_none() && self.status.has_disk() {
            self.status.state = State::NeedsOwner;
        }
        if self.config.is_none() || !self.status.has_disk() {
            return;
        }
        if self.node.is_none() {
            if let Some(reason) = self.resets.storm(clock::now()) {
                let why = format!("Safe mode: three resets within an hour, the last because {reason}.");
                let what = "The node is started again an hour after these, or when node.toml is changed.";
                self.status.tell(State::NeedsOwner, &why, what);
                return;
            }
            self.node = Some(Service::new(children::node(self.small, &self.board.run), self.events.clone()));
            self.vigil = Some(Vigil::new(now));
            self.status.tell(State::Starting, "", "");
        }
        if self.node.as_mut().is_some_and(|node| node.tend(now)) {
            self.tell_trust();
            self.tell_names();
            if let Some(state) = self.door.as_ref().map(|door| door.state(0, now)) {
                self.tell_door(state);
            }
        }
    }

    /// The device may appear late, so it is looked for until it is there.
    fn feed(&mut self) {
        if self.watchdog.is_none() && self.may_use_watchdog {
            match Watchdog::open(self.board.run.watchdog_s) {
                Ok(found) => self.watchdog = found,
                Err(error) => tracing::warn!(%error, "watchdog not started"),
            }
        }
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.feed();
        }
    }

    fn publish(&mut self) {
        self.status.uptime_s = self.started.elapsed().as_secs();
        if self.measured.is_none_or(|measured| measured.elapsed() >= MEASURE_EVERY) {
            self.measured = Some(Instant::now());
            self.status.temperature_c =
                hardware::machine::temperature().map(|thousandths| thousandths / 1_000);
        }
        self.status.clock = self.time.trust().text().to_owned();
        let place = self.status.addresses.first().zip(self.gossip.as_ref());
        self.status.join = place.map(|(address, gossip)| format!("/ip4/{address}/{gossip}"));
        if self.status == self.published {
            return;
        }
        let text = serde_json::to_string(&self.status).unwrap_or_default();
        let path = Path::new(setup::RUN).join(rescue::STATUS);
        // In memory; a reader sees the old or the new one.
        if let Err(error) = files::replace(&path, text.as_bytes()) {
            tracing::warn!(%error, "status not written");
        }
        // The panel's thread never ends.
        let _ = self.panel.send(panel::Message::Status(Box::new(self.status.clone())));
        self.published = self.status.clone();
    }

    /// Takes the exit status of every child that ended, orphans included.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            let now = Instant::now();
            if let Some(node) = self.node.as_mut().filter(|node| node.is(pid)) {
                node.ended(status, now);
                self.turns = None;
                if let Some(vigil) = &mut self.vigil {
                    vigil.ended(now);
                }
                if self.status.has_disk() && status.exit_status() != Some(0) {
                    self.status.state = State::Failing;
                    if self.status.why.is_empty() {
                        self.status.explain("the node ended without a word; it is started again", "");
                    }
                }
            }
            if let Some(service) = self.others.iter_mut().find(|service| service.is(pid)) {
                service.ended(status, now);
            }
        }
    }

    /// The data partition is gone, broken or read-only: the node stops, nothing is written anywhere else.
    fn lose_disk(&mut self, problem: &str) {
        tracing::error!("data partition: {problem}");
        self.status.lose_disk(problem);
        self.vigil = None;
        self.time.stop_saving();
        if let Some(node) = &mut self.node {
            node.order_stop();
        }
    }

    /// Remembers the reason and resets the board.
    fn reset(&mut self, reason: &str) -> End {
        tracing::error!("the board is reset: {reason}");
        if let Some(node) = &self.node {
            node.kill();
        }
        self.resets.add(clock::now(), reason);
        let text = self.resets.text();
        let (done, wait) = mpsc::channel();
        std::thread::spawn(move || {
            let written = files::write_atomic(Path::new(setup::RESETS), text.as_bytes(), 0o644);
            let _ = done.send(written);
        });
        match wait.recv_timeout(REMEMBER_WITHIN) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "reset not remembered"),
            Err(_) => tracing::warn!("reset not remembered: the disk does not answer"),
        }
        End::Reset
    }

    /// Factory reset: deletes everything on the data partition, on a thread of its own while the watchdog is fed. What
    /// the owner wrote on the boot partition stays. A start finishes what a power cut interrupts.
    fn forget(&mut self) {
        tracing::warn!("factory reset: everything on the data partition is deleted");
        let deleting = std::thread::spawn(setup::forget);
        while !deleting.is_finished() {
            self.feed();
            std::thread::sleep(Duration::from_millis(100));
        }
        if let Ok(Err(error)) = deleting.join() {
            tracing::error!(%error, "not everything is deleted; the next start goes on");
        }
    }

    /// Stops the children, then everything else.
    fn stop(mut self, how: End, queue: &mpsc::Receiver<Event>) -> End {
        if how == End::Reset {
            return how;
        }
        tracing::info!(?how, "stopping");
        self.status.stop();
        self.publish();
        let deadline = Instant::now() + STOP_WITHIN;
        if let Some(node) = &mut self.node {
            node.order_stop();
        }
        while self.node.as_ref().is_some_and(Service::is_running) {
            if Instant::now() >= deadline
                && let Some(node) = &self.node
            {
                node.kill();
            }
            // A process that hangs on a dead card cannot even be killed.
            if Instant::now() >= deadline + KILL_WITHIN {
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
        self.others.iter().for_each(Service::kill);
        if how == End::Forget {
            self.forget();
        } else {
            self.time.save();
            let until = Instant::now() + REMEMBER_WITHIN;
            while !self.time.is_saved() && Instant::now() < until {
                self.feed();
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // Before a restart it stays armed: should that hang, it resets the board.
        if how == End::PowerOff
            && let Some(watchdog) = self.watchdog.take()
        {
            watchdog.disarm();
        }
        how
    }
}

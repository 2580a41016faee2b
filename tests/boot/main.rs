//! Boots the built image in qemu and uses it as its owner would: a published client attaches blocks, a port
//! scan looks for holes, the node is killed, the plug is pulled, the configuration is broken.
//!
//! Runs in a network namespace of its own, with one link as `cargo image run` makes it (`user`) and one to
//! scan through (`tap`). Every wait is for an event, with a generous limit; only that nothing happens is waited
//! for a fixed time.
#![allow(missing_docs, reason = "a test program")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program reports and panics")]

mod artefact;
mod board;
mod card;
mod client;
mod door;
mod faults;
mod full;
mod host;
#[path = "../http.rs"]
mod http;
mod pair;
mod scan;
#[path = "../switch.rs"]
mod switch;
#[path = "../web.rs"]
mod web;

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use board::Board;
use card::Card;

fn main() {
    host::enter_namespace();
    let image = card::build_image();
    artefact::check(&card::build_pi_image());
    let lan = host::Lan::start();
    let card = Card::new(&image, "boot");
    // Names of tests to run, or parts of them; all without.
    let wanted = std::env::args().skip(1).collect::<Vec<_>>();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let tests = TESTS.iter().filter(|(name, _)| is_wanted(name)).collect::<Vec<_>>();
    assert!(!tests.is_empty(), "no test is called {wanted:?}");
    let mut failed: Vec<&str> = Vec::new();
    for (name, test) in &tests {
        let started = Instant::now();
        println!("test {name} ...");
        // The panic's message is printed; the others still tell something.
        let result = catch_unwind(AssertUnwindSafe(|| test(&card, &lan)));
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:.0} s)", started.elapsed().as_secs_f32());
        failed.extend(result.is_err().then_some(*name));
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
    println!("boot: {} passed, 0 failed", tests.len());
}

/// A test and its name.
type Test = (&'static str, fn(&Card, &host::Lan));

/// In this order on one card: each begins where the one before left the Tangle.
const TESTS: [Test; 22] = [
    ("first boot: clients attach blocks, ports are closed", first_boot),
    ("a published client moves value", a_client_moves_value),
    ("a killed node comes back", killed_node_comes_back),
    ("a pulled plug loses nothing acknowledged", pulled_plug_loses_nothing),
    ("the power button stops in order", power_button_stops_in_order),
    ("a first snapshot is downloaded", a_first_snapshot_is_downloaded),
    ("a broken configuration is named", broken_configuration_is_named),
    ("a mistake at the first start is told", a_mistake_at_the_first_start_is_told),
    ("resets end in safe mode", resets_end_in_safe_mode),
    ("a node that somebody took over can do nothing", attacks_fail),
    ("a node that stands still leads to a reset", stopped_node_leads_to_a_reset),
    ("a disk that hangs leads to a reset", frozen_disk_leads_to_a_reset),
    ("a disk that turns read-only stops the node", read_only_disk_stops_the_node),
    ("a card that is pulled stops the node", pulled_card_stops_the_node),
    ("a filled data partition is made room on", full::a_filled_partition_is_made_room_on),
    ("light and button work", light_and_button),
    ("the firewall changes on trial", door::the_firewall_changes_on_trial),
    ("damage is told", faults::damage_is_told),
    ("thirty power cuts during the first start", faults::power_cuts_during_the_first_start),
    ("two boards form one network", pair::two_boards_form_one_network),
    ("a Raspberry Pi 3 boots from the card for all", raspberry_pi_3),
    ("a Raspberry Pi 4 boots from the same image", raspberry_pi_4),
];

/// First start of a fresh card: healthy API, data partition grown, both kinds of proof of work, port scan.
fn first_boot(card: &Card, lan: &host::Lan) {
    let started = Instant::now();
    let board = Board::boot(card, &[]);
    board.wait_healthy();
    println!("  qemu start to healthy API: {:.1} s", started.elapsed().as_secs_f32());
    board.console_says("data partition grown");
    board.console_says("watchdog started");
    assert_eq!(client::attach(board.api()).len(), 2, "both kinds of proof of work");

    let address = lan.address_of_board(&board);
    let (before, started) = (client::confirmed(board.api()), Instant::now());
    // From two addresses, as the firewall allows 96 connections of one; again and again for six intervals.
    let (mut attached, mut refused, mut floods) = (0, 0, 0);
    while started.elapsed() < Duration::from_secs(30) {
        let (taken, told) = client::flood((address, 14_265).into(), host::SOURCES, 50);
        (attached, refused, floods) = (attached + taken, refused + told, floods + 1);
    }
    // Half of the pace is generous to a busy host.
    let (pace, gained) = (started.elapsed().as_secs() / 5 / 2, client::confirmed(board.api()) - before);
    println!("  {floods} times 100 clients at once: {attached} blocks attached, {refused} told to come back");
    assert_eq!(attached + refused, floods * 100);
    assert!(attached >= floods, "blocks were attached in each");
    assert!(gained >= pace, "{gained} milestones in the time of {}", 2 * pace);
    board.wait_for("spare power to be told", || {
        client::status(address)["spare_hashes_per_s"].as_u64() > Some(0)
    });
    let status = client::status(address);
    let (written, blocks) = (status["written_bytes"].as_u64(), status["block_bytes"].as_u64());
    assert!(blocks > Some(0) && written > blocks, "{status}");

    // The README's table of ports.
    let table = scan::Ports { open: vec![80, 14_265, 15_600], refused: vec![] };
    assert_eq!(scan::tcp(address.into()), table, "IPv4");
    assert_eq!(scan::tcp(lan.link_local_of_board()), table, "IPv6");
    // So many that one address may have at once.
    let open = scan::connections(host::SOURCES[0].into(), (address, 14_265).into(), 130).len();
    assert!((40..=96).contains(&open), "{open} connections of one address");
    from_the_wide_network(&board);
    // What is sent to mDNS's port, but not to its group, is dropped, too.
    assert_eq!(scan::udp(address.into()), Vec::<u16>::new(), "IPv4, UDP");
    assert_eq!(scan::udp(lan.link_local_of_board()), Vec::<u16>::new(), "IPv6, UDP");
    println!("  node's memory: {} MiB", board.node_memory_mib());
}

/// Who is not on the local network reaches other nodes' port alone, and is one source with all of its /64.
fn from_the_wide_network(board: &Board) {
    let address = host::Lan::wide_address_of_board(board);
    let [one, beside, other] = host::WIDE.map(IpAddr::from);
    let held = [one, beside].map(|from| scan::connections(from, (address, 15_600).into(), 65));
    let open = held.iter().map(Vec::len).sum::<usize>();
    assert!((40..=96).contains(&open), "{open} connections of one /64");
    assert_eq!(scan::connections(other, (address, 15_600).into(), 1).len(), 1, "another /64 suffers");
    for port in [80, 14_265] {
        assert_eq!(scan::connections(other, (address, port).into(), 1).len(), 0, "port {port}");
    }
}

/// Base tokens, native tokens, an alias, a foundry, an NFT: made, moved, destroyed, and every state read back.
fn a_client_moves_value(card: &Card, _: &host::Lan) {
    let board = Board::boot(card, &[]);
    board.wait_healthy();
    client::move_value(board.api());
}

/// The kernel kills the node as it would for want of memory; milestones go on from where they were.
fn killed_node_comes_back(card: &Card, _: &host::Lan) {
    let board = Board::boot(card, &["sysrq_always_enabled"]);
    board.wait_healthy();
    let before = client::confirmed(board.api());
    board.kill_node();
    board.console_says("node ended");
    board.wait_for("milestones after the kill", || client::try_confirmed(board.api()) > Some(before + 1));
    board.wait_healthy();
}

/// qemu is killed the moment that a block is acknowledged; after the next start the block is there, gets
/// referenced, and the chain of milestones goes on.
fn pulled_plug_loses_nothing(card: &Card, _: &host::Lan) {
    let mut posted: Vec<String> = Vec::new();
    let mut newest = 0;
    for round in 0..3 {
        let board = Board::boot(card, &[]);
        board.wait_healthy();
        assert!(client::confirmed(board.api()) >= newest, "milestones were lost in round {round}");
        for id in &posted {
            board.wait_for("the block to be referenced", || client::is_referenced(board.api(), id));
        }
        newest = client::confirmed(board.api());
        // Several, so that some are posted between a commit and the next.
        posted
            .extend((0..5).map(|number| client::post(board.api(), &format!("round {round} block {number}"))));
        board.pull_plug();
    }
    let board = Board::boot(card, &[]);
    board.wait_healthy();
    for id in &posted {
        board.wait_for("the block to be referenced", || client::is_referenced(board.api(), id));
    }
    for index in 1..=client::confirmed(board.api()) {
        client::assert_follows_its_predecessor(board.api(), index);
    }
}

fn power_button_stops_in_order(card: &Card, _: &host::Lan) {
    let board = Board::boot(card, &[]);
    board.wait_healthy();
    board.press_power_button();
    board.wait_for("the board to switch itself off", || board.has_ended());
    board.console_says("power button pressed");
    board.console_says("stopped");
    board.console_says("ending how=PowerOff");
    card.check_data_is_clean();
}

/// A board joins a network: its name server is the local network's, its snapshot comes by HTTPS, and the rights that this
/// takes are enough.
fn a_first_snapshot_is_downloaded(_: &Card, lan: &host::Lan) {
    let card = Card::new(&card::build_image(), "download");
    let authority = web::Authority::new();
    let server = authority.serve(host::SOURCES[0], &[], web::Manner::Good);
    let text = format!(
        "[network]\nname = \"handed out\"\nmilestone_keys = [{{ public_key = \"{}\" }}]\n[snapshots]\n\
         sources = [{{ full = \"https://{}:{}/full\" }}]\nauthority = \"\"\"\n{}\"\"\"\n",
        "07".repeat(32),
        web::NAME,
        server.address.port(),
        authority.pem(),
    );
    card.write_boot("node.toml", text.as_bytes());
    lan.forget();
    let board = Board::boot(&card, &[]);
    board.wait_for("the board to ask", || !web::lock(&server.asked).is_empty());
    // Meanwhile it says what it is doing, and longer than it would take PID 1 to lose patience.
    let path = format!("/api/core/v2/outputs/0x{}", "00".repeat(34));
    let ask = || http::request(board.api(), "GET", &path, &[], &[]);
    board.wait_for("the API to say so", || ask().is_some_and(|answer| answer.status == 503));
    board.console_says("none of 1 sources gave a snapshot");
    web::lock(&server.files).insert("/full".to_owned(), genesis_snapshot("handed out"));
    board.console_says("snapshot downloaded");
    board.wait_for("the output of the snapshot", || ask().is_some_and(|answer| answer.status == 200));
}

/// A full snapshot of a new network.
fn genesis_snapshot(name: &str) -> Vec<u8> {
    use osmia::protocol::address::Address;
    use osmia::snapshot::{full, genesis};
    let params = osmia::config::Config::parse("[coordinator]\nenabled = true\n").unwrap().network.params;
    let params = osmia::protocol::params::ProtocolParameters { network_name: name.to_owned(), ..params };
    let base = genesis::base(params);
    let outputs =
        genesis::outputs(base.schedule.active.token_supply, Address::Ed25519([1; 32]), &[]).unwrap();
    let header = full::Header::of(&base, outputs.len() as u64).unwrap();
    let mut file = Vec::new();
    full::write(&mut file, &header, outputs.into_iter().map(Ok), std::iter::empty(), &base.entry_points)
        .unwrap();
    file
}

/// The status page, the console and a file on the card name file, line, key and fix. What was right before holds.
fn broken_configuration_is_named(card: &Card, lan: &host::Lan) {
    card.write_boot("node.toml", b"[coordinator]\nenabled = true\n[rest]\nbind = \"everywhere\"\n");
    card.write_boot("rpi-preseed.toml", include_bytes!("rpi-preseed.toml"));
    let mistake = "node.toml: line 4: rest.bind: \"everywhere\" is no address; write IP:PORT";
    {
        let board = Board::boot(card, &[]);
        board.console_says(mistake);
        board.wait_healthy();
        let address = lan.address_of_board(&board);
        let status = client::status(address);
        assert_eq!((&status["state"], &status["why"]), (&"healthy".into(), &mistake.into()), "{status}");
        assert_eq!(status["host_name"], "attic", "{status}");
        assert!(status["notices"].to_string().contains("SSH was asked for"), "{status}");
        board.press_power_button();
        board.wait_for("the board to switch itself off", || board.has_ended());
    }
    let told = String::from_utf8(card.read_boot("SETUP-RESULT.txt")).unwrap();
    assert!(told.contains(&format!("MISTAKE in {mistake}\r\n")) && told.contains("SSH"), "{told}");
    let preseed = String::from_utf8(card.read_boot("rpi-preseed.toml")).unwrap();
    assert!(preseed.contains("attic") && !preseed.contains("secret"), "{preseed}");
}

/// A card whose very first configuration has a mistake: no node, but a page that says why, from any computer.
fn a_mistake_at_the_first_start_is_told(_: &Card, lan: &host::Lan) {
    let card = Card::new(&card::build_image(), "mistake");
    // As Notepad saves it.
    let text = "[pow]\r\nworkers = 65\r\n[coordinator]\r\nenabled = true\r\n";
    let utf16 = text.encode_utf16().flat_map(u16::to_le_bytes);
    card.write_boot("node.toml", &[0xff, 0xfe].into_iter().chain(utf16).collect::<Vec<_>>());
    let board = Board::boot(&card, &[]);
    let address = lan.lease_of_board(&board);
    board.wait_for("the status page", || client::try_status(address).is_some());
    board.wait_for("the reason", || client::status(address)["state"] == "needs-owner");
    let status = client::status(address);
    assert_eq!(
        status["why"],
        "node.toml: line 2: pow.workers: 65 is too many; write 1 to 64, or 0 for as many as the machine can spare"
    );
    let table = scan::Ports { open: vec![80], refused: vec![] };
    assert_eq!(scan::tcp(address.into()), table, "ports without a node");
    assert_eq!(scan::tcp(lan.link_local_of_board()), table, "ports without a node, IPv6");
}

/// A node that ends as soon as it is started gives no sign of life: it is started again with growing pauses, the
/// board is reset when that does not help, and after the third reset in an hour the node is left alone.
fn resets_end_in_safe_mode(card: &Card, lan: &host::Lan) {
    // The data on the card belong to another network.
    card.write_boot("node.toml", b"[coordinator]\nenabled = true\n[network]\nname = \"another\"\n");
    lan.forget();
    {
        let board = Board::boot(card, &[]);
        let address = lan.lease_of_board(&board);
        let says = |status: &serde_json::Value| {
            status["state"] == "failing" && status["why"].to_string().contains("another")
        };
        board.wait_for("the page to say why", || client::try_status(address).as_ref().is_some_and(says));
        board.press_power_button();
        board.wait_for("the board to switch itself off", || board.has_ended());
    }
    // Two resets were not long ago.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    card.write_data("/resets", format!("{} a test\n{} a test\n", now - 120, now - 60).as_bytes());
    {
        let board = Board::boot(card, &[]);
        board.console_says("but the configuration asks for");
        // qemu is told to end at a reset.
        board.wait_for("the board to reset itself", || board.has_ended());
        assert!(board.console_has("the board is reset: the node does not start"));
    }
    lan.forget();
    let board = Board::boot(card, &[]);
    let address = lan.lease_of_board(&board);
    board.wait_for("safe mode", || {
        client::try_status(address).is_some_and(|status| status["why"].to_string().contains("Safe mode"))
    });
    assert!(!board.console_has("but the configuration asks for"), "the node was started");
}

/// What each attack must end in: an error number of the kernel, or 31, the signal of a forbidden system call.
const OUTCOMES: [(&str, &str); 27] = [
    ("dev-mem", "errno 13"),
    ("card", "errno 13"),
    ("memory-of-pid-1", "errno 13"),
    ("memory-of-node", "errno 13"),
    ("ptrace", "signal 31"),
    ("process-vm-readv", "signal 31"),
    ("kill-node", "errno 1"),
    ("kill-pid-1", "errno 1"),
    ("raw-socket", "errno 1"),
    ("packet-socket", "errno 1"),
    ("netlink", "errno 1"),
    ("udp", "errno 1"),
    ("connect", "errno 13"),
    ("listen-elsewhere", "errno 13"),
    ("read-outside", "errno 13"),
    ("read-boot", "errno 13"),
    ("write-outside", "errno 13"),
    ("setuid-bit", "errno 1"),
    ("fork-and-exec", "errno 1"),
    ("exec", "signal 31"),
    ("load-module", "signal 31"),
    ("mount", "signal 31"),
    ("device-node", "signal 31"),
    ("become-root", "signal 31"),
    ("honest-file", "ok"),
    ("honest-thread", "ok"),
    // EAGAIN: its control group has no room for more.
    ("many-threads", "errno 11"),
];

/// A test build tries from inside, confined as the node is; at last it uses memory without end.
fn attacks_fail(_: &Card, _: &host::Lan) {
    let card = Card::new(&card::build_attack_image(), "attack");
    let board = Board::boot(&card, &["osmia.attack=all"]);
    board.console_says("attack end");
    for (name, outcome) in OUTCOMES {
        assert!(board.console_has(&format!("attack {name} {outcome}\r\n")), "{name}: {}", board.console());
    }
    board.console_says("attack ended code=None signal=Some(9) starved=true");
    assert!(client::is_healthy(board.api()), "the node suffered");
}

/// The reset comes within a minute, and PID 1 says why.
fn resets_within_a_minute(board: &Board, since: Instant, reasons: &[&str]) {
    board.wait_for("the board to reset itself", || board.has_ended());
    let seconds = since.elapsed().as_secs();
    println!("  reset after {seconds} s");
    let says = |reason: &&str| board.console_has(&format!("the board is reset: {reason}"));
    // Emulation may be slow: the limit in the board's own time is in its unit tests.
    assert!(reasons.iter().any(says), "{}", board.console());
}

fn stopped_node_leads_to_a_reset(_: &Card, _: &host::Lan) {
    let card = Card::new(&card::build_attack_image(), "attack");
    let board = Board::boot(&card, &["osmia.attack=stop"]);
    board.console_says("node stopped for a test");
    resets_within_a_minute(
        &board,
        Instant::now(),
        &["the node's engine stands still", "the node's API does not answer"],
    );
}

/// The emulated disk takes one byte a second from now on.
fn frozen_disk_leads_to_a_reset(_: &Card, _: &host::Lan) {
    let card = Card::new(&card::build_image(), "frozen");
    let board = Board::boot(&card, &[]);
    board.wait_healthy();
    board.freeze_disk();
    // Whichever is noticed first.
    let reasons = ["the disk does not take what is written", "the node's engine stands still"];
    resets_within_a_minute(&board, Instant::now(), &reasons);
}

/// Magic SysRq U: the kernel makes every file system read-only, as it does after errors.
fn read_only_disk_stops_the_node(_: &Card, lan: &host::Lan) {
    let card = Card::new(&card::build_image(), "read-only");
    let board = Board::boot(&card, &["sysrq_always_enabled"]);
    board.wait_healthy();
    let address = lan.address_of_board(&board);
    board.magic_key('u');
    waits_for_its_owner(&board, address);
}

/// The card's driver is told that it is gone, as when it is pulled.
fn pulled_card_stops_the_node(_: &Card, lan: &host::Lan) {
    let card = Card::new(&card::build_attack_image(), "pulled");
    lan.forget();
    let board = Board::boot(&card, &["osmia.attack=pull-card"]);
    let address = lan.lease_of_board(&board);
    board.console_says("card pulled for a test");
    waits_for_its_owner(&board, address);
}

/// The data partition is lost: the page says so, and the node is stopped.
fn waits_for_its_owner(board: &Board, address: std::net::Ipv4Addr) {
    board.wait_for("the page to say so", || {
        client::try_status(address).is_some_and(|status| {
            status["state"] == "needs-owner" && status["why"].to_string().contains("data partition")
        })
    });
    board.console_says("node ended");
    // It stays so: no restart, no reset, nothing written elsewhere.
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(client::status(address)["state"], "needs-owner");
    assert!(!board.has_ended());
}

/// A simulated panel: the light shows the healthy pattern; ten seconds and a short press are a factory reset, which
/// leaves nothing of the network that the board founded.
fn light_and_button(_: &Card, lan: &host::Lan) {
    let card = Card::new(&card::build_attack_image(), "panel");
    lan.forget();
    {
        let board = Board::boot_with_panel(&card, &["osmia.attack=panel"]);
        board.console_says("coordinator key made");
        board.console_says("light lit=9");
        board.console_says("factory reset: everything on the data partition is deleted");
        board.wait_for("the board to start again", || board.has_ended());
        board.console_says("ending how=Forget");
        let console = board.console();
        let winks = console.split("winks=").nth(1).and_then(|text| text.chars().next()).unwrap();
        // Two in four seconds; more where a slow emulator makes these longer.
        assert!(('1'..='9').contains(&winks), "{winks} winks");
    }
    let board = Board::boot_with_panel(&card, &[]);
    board.console_says("coordinator key made");
    board.console_says("milestone confirmed index=1 ");
}

/// The image for all Raspberry Pis on the emulated Pi 3: grown, an address, the time from the network, clients, and
/// nothing lost when the plug is pulled.
fn raspberry_pi_3(_: &Card, lan: &host::Lan) {
    let card = Card::new(&card::build_pi_image(), "pi");
    let mut attached: Vec<String> = Vec::new();
    for round in 0..2 {
        lan.forget();
        let started = Instant::now();
        let board = Board::boot_pi("raspi3b", &card);
        let address = lan.address_of_board(&board);
        let api = (address, 14_265).into();
        board.wait_for("a healthy API", || client::is_healthy(api));
        println!("  qemu start to healthy API: {:.1} s", started.elapsed().as_secs_f32());
        board.console_says("board detected board=rpi3");
        let shown = [&address.to_string(), "healthy"];
        board.wait_for("address and state on the display", || board.display_shows(shown));
        // Emulated: 25 degrees. Less memory than the minimum is told, and what it means.
        let status = client::status(address);
        assert_eq!(status["temperature_c"], 25, "{status}");
        assert!(status["notices"].to_string().contains("SD card"), "{status}");
        assert!(status["notices"].to_string().contains("no proof of work"), "{status}");
        // It has no clock of its own.
        board.console_says("clock trust=\"time servers\"");
        if round == 0 {
            board.console_says("data partition grown");
        }
        for id in &attached {
            board.wait_for("the block to be referenced", || client::is_referenced(api, id));
        }
        if round == 0 {
            // So little memory that it does no proof of work for others.
            attached = client::attach(api);
            assert_eq!(attached.len(), 1);
        }
        board.pull_plug();
    }
}

/// The same image on the emulated Pi 4.
fn raspberry_pi_4(_: &Card, lan: &host::Lan) {
    let card = Card::new(&card::build_pi_image(), "pi4");
    lan.forget();
    let started = Instant::now();
    let board = Board::boot_pi("raspi4b", &card);
    let api = (lan.address_of_board(&board), 14_265).into();
    board.wait_for("a healthy API", || client::is_healthy(api));
    println!("  qemu start to healthy API: {:.1} s", started.elapsed().as_secs_f32());
    board.console_says("board detected board=rpi4");
}

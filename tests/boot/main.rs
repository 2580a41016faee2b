//! Boots the built image in qemu and uses it as its owner would: a published client attaches blocks, a port
//! scan looks for holes, the node is killed, the plug is pulled, the configuration is broken.
//!
//! Runs in a network namespace of its own, with one link as `cargo image run` makes it (`user`) and one to
//! scan through (`tap`). Every wait is for an event, with a generous limit; only that nothing happens is waited
//! for a fixed time.
#![allow(missing_docs, reason = "a test program")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program reports and panics")]

mod board;
mod card;
mod client;
mod host;
#[path = "../http.rs"]
mod http;
mod scan;

use std::time::{Duration, Instant};

use board::Board;
use card::Card;

fn main() {
    host::enter_namespace();
    let image = card::build_image();
    println!("image: {:.1} MiB compressed", card::compressed_mib(&image));
    let lan = host::Lan::start();
    let card = Card::new(&image, "boot");
    for (name, test) in TESTS {
        let started = Instant::now();
        println!("test {name} ...");
        test(&card, &lan);
        println!("test {name} ... ok ({:.0} s)", started.elapsed().as_secs_f32());
    }
    println!("boot: {} passed, 0 failed", TESTS.len());
}

/// A test and its name.
type Test = (&'static str, fn(&Card, &host::Lan));

/// In this order on one card: each begins where the one before left the Tangle.
const TESTS: [Test; 6] = [
    ("first boot: clients attach blocks, ports are closed", first_boot),
    ("a killed node comes back", killed_node_comes_back),
    ("a pulled plug loses nothing acknowledged", pulled_plug_loses_nothing),
    ("the power button stops in order", power_button_stops_in_order),
    ("a broken configuration is named", broken_configuration_is_named),
    ("a board whose node proves nothing is reset", board_without_progress_is_reset),
];

/// First start of a fresh card: healthy API, data partition grown, both kinds of proof of work, port scan.
fn first_boot(card: &Card, lan: &host::Lan) {
    let started = Instant::now();
    let board = Board::boot(card, &[]);
    board.wait_healthy();
    println!("  qemu start to healthy API: {:.1} s", started.elapsed().as_secs_f32());
    board.console_says("data partition grown");
    board.console_says("watchdog started");
    println!("  attached: {}", client::attach(board.api()));

    let address = lan.address_of_board(&board);
    // The README's table of ports.
    let table = scan::Ports { open: vec![14_265], refused: vec![] };
    assert_eq!(scan::tcp(address.into()), table, "IPv4");
    assert_eq!(scan::tcp(lan.link_local_of_board()), table, "IPv6");
    println!("  node's memory: {} MiB", board.node_memory_mib());
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

/// The console names file, line, key and fix; nothing is started.
fn broken_configuration_is_named(card: &Card, lan: &host::Lan) {
    card.write_node_toml("[coordinator]\nenabled = true\n[rest]\nbind = \"everywhere\"\n");
    let board = Board::boot(card, &[]);
    board.console_says("/boot/node.toml: line 4: rest.bind: \"everywhere\" is no address; write IP:PORT");
    // The board is not in the network either: nothing was set up.
    assert!(!lan.board_gets_an_address_within(Duration::from_secs(5)));
}

/// A node that ends as soon as it is started gives no sign of life: it is started again with growing pauses,
/// and when that does not help, the hardware watchdog resets the board.
fn board_without_progress_is_reset(card: &Card, _: &host::Lan) {
    // The data on the card belong to another network.
    card.write_node_toml("[coordinator]\nenabled = true\n[network]\nname = \"another\"\n");
    let board = Board::boot(card, &[]);
    board.console_says("but the configuration asks for");
    board.console_says("node ended");
    // qemu is told to end at a reset.
    board.wait_for("the watchdog to reset the board", || board.has_ended());
    assert!(!board.console_has("ending how="), "PID 1 ended by itself");
}

//! Two boards on one switch.

use std::net::SocketAddr;
use std::time::Duration;

use crate::board::Board;
use crate::card::{self, Card};
use crate::switch::Switch;
use crate::{client, host};

/// Ports of this machine: each board's, and those of the switch.
const WIRES: [(u16, u16); 2] = [(40_001, 40_002), (40_003, 40_004)];

const SECOND_MAC: &str = "52:54:00:0a:0b:0e";

/// The second is flashed with the configuration that every card has, says nothing of the first, and joins its network. Each
/// attaches a block through its own API, and goes on when the other one's plug is pulled.
pub(crate) fn two_boards_form_one_network(_: &Card, lan: &host::Lan) {
    let switch = Switch::start(Duration::from_millis(1)..Duration::from_millis(10), u64::MAX);
    // The host with its DHCP and time servers is the third on it.
    switch.tap(host::Lan::LINK);
    for (of, to) in WIRES {
        switch.wire(of, to);
    }
    lan.forget();
    let (first, second) =
        (Card::new(&card::build_image(), "first"), Card::new(&card::build_image(), "second"));
    // No proof of work, which takes long on two emulated boards; the rest is what every card has.
    let text = include_str!("../../image/node.toml");
    second.write_boot("node.toml", text.as_bytes());
    let text =
        text.replace("min_pow_score = 100", "min_pow_score = 0").replace("osmia-private", "osmia-boot-test");
    first.write_boot("node.toml", text.as_bytes());
    let boot = |name: &str| match name {
        "first" => Board::boot_on_wire(name, &first, WIRES[0], host::MAC),
        _ => Board::boot_on_wire(name, &second, WIRES[1], SECOND_MAC),
    };
    let api_of = |board: &Board| -> SocketAddr {
        let api = (lan.address_of_board(board), 14_265).into();
        board.wait_for("a healthy API", || client::is_healthy(api));
        api
    };
    let one = boot("first");
    let api_of_one = api_of(&one);
    let two = boot("second");
    let api_of_two = api_of(&two);
    two.console_says("joined a network network=\"osmia-boot-test\"");

    let attach = |one: &Board, two: &Board, text: &str| {
        for (board, api) in [(one, api_of_one), (two, api_of_two)] {
            // One that begins at a snapshot knows no block yet.
            board.wait_for("tips", || client::has_tips(api));
            let block = client::post_plain(api, client::tips(api), text.as_bytes());
            for api in [api_of_one, api_of_two] {
                board.wait_for("the block to be referenced", || client::has_referenced(api, &block));
            }
        }
    };
    attach(&one, &two, "both are there");

    // The founder's plug: the other one goes on serving, and follows again.
    one.pull_plug();
    let before = client::confirmed(api_of_two);
    let one = boot("first");
    one.wait_for("milestones after the founder's power cut", || {
        client::try_confirmed(api_of_two).unwrap_or_else(|| panic!("{}", two.console())) > before + 1
    });
    one.wait_for("a healthy founder", || client::is_healthy(api_of_one));
    attach(&one, &two, "the founder is back");

    // And the other one's.
    two.pull_plug();
    let before = client::confirmed(api_of_one);
    one.wait_for("milestones without the second", || client::confirmed(api_of_one) > before + 1);
    let two = boot("second");
    two.wait_for("a healthy second", || client::is_healthy(api_of_two));
    attach(&one, &two, "the second is back");
}

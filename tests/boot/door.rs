//! The firewall, changed while the board runs: on trial, undone, kept.

use std::net::{IpAddr, SocketAddr, TcpStream};

use crate::board::Board;
use crate::card::{self, Card};
use crate::host::{self, Lan};
use crate::http::{request, request_on};
use crate::{client, scan};

const CONFIG: &str = "[coordinator]\nenabled = true\ninterval_s = 1\n[health]\nrequire_peers = false\n[network]\n\
                      name = \"osmia-boot-test\"\nmin_pow_score = 0\n[rest]\npassword = \"open sesame, please\"\n";

/// `owner:open sesame, please`, and what is not.
const OWNER: &str = "Authorization: Basic b3duZXI6b3BlbiBzZXNhbWUsIHBsZWFzZQ==";
const OTHER: &str = "Authorization: Basic b3duZXI6b3BlbiBzZXNhbWUsIHBsZWFzRQ==";

const CHANGE: &str = "/api/osmia/v1/firewall";
const CONFIRM: &str = "/api/osmia/v1/firewall/confirm";

pub(crate) fn the_firewall_changes_on_trial(_: &Card, lan: &Lan) {
    let card = Card::new(&card::build_image(), "door");
    card.write_boot("node.toml", CONFIG.as_bytes());
    {
        let board = Board::boot(&card, &[]);
        board.wait_healthy();
        let address = lan.address_of_board(&board);
        let api = SocketAddr::from((address, 14_265));
        let ask = |path: &str, headers: &[&str]| {
            request(api, "POST", path, headers, br#"{"restPublic": true}"#).unwrap().status
        };
        let says = |text: &str| client::status(address)["firewall"].as_str().unwrap().contains(text);
        // Nobody else does that.
        assert_eq!((ask(CHANGE, &[]), ask(CHANGE, &[OTHER]), ask(CONFIRM, &[OWNER])), (400, 401, 400));
        assert!(says("private addresses") && !reaches(&board, 14_265));

        assert_eq!(ask(CHANGE, &[OWNER]), 202);
        board.wait_for("everybody to be let in", || reaches(&board, 14_265));
        assert!(says("everybody") && says("unless"));
        board.wait_for("that to be undone", || !reaches(&board, 14_265));
        board.console_says("nobody confirmed the change of the firewall");
        board.wait_for("the page to say so", || says("private addresses"));

        // Whoever was connected before shows nothing by that.
        let early = TcpStream::connect(api).unwrap();
        assert_eq!(ask(CHANGE, &[OWNER]), 202);
        assert_eq!(request_on(early, "POST", CONFIRM, &[OWNER], &[]).unwrap().status, 400);
        assert_eq!(ask(CONFIRM, &[OWNER]), 204);
        board.console_says("the change of the firewall is confirmed");
        board.wait_for("the page to say so", || says("everybody") && !says("unless"));

        // Of all ports, these.
        let table = || scan::Ports { open: vec![80, 14_265, 15_600], refused: vec![] };
        assert_eq!(scan::tcp(address.into()), table(), "IPv4");
        assert_eq!(scan::tcp(lan.link_local_of_board()), table(), "IPv6");
        assert_eq!(scan::udp(address.into()), Vec::<u16>::new(), "IPv4, UDP");
        assert_eq!(scan::udp(lan.link_local_of_board()), Vec::<u16>::new(), "IPv6, UDP");
        assert!(!reaches(&board, 80) && reaches(&board, 14_265) && reaches(&board, 15_600));
        board.pull_plug();
    }
    {
        let board = Board::boot(&card, &[]);
        board.wait_healthy();
        board.wait_for("everybody to be let in still", || reaches(&board, 14_265));
        board.pull_plug();
    }
    // What the owner writes anew counts more.
    card.write_boot("node.toml", format!("{CONFIG}bind = \"[::]:14265\"\n").as_bytes());
    let board = Board::boot(&card, &[]);
    board.wait_healthy();
    assert!(!reaches(&board, 14_265));
}

/// Whether the port answers somebody who is not on the local network.
fn reaches(board: &Board, port: u16) -> bool {
    let address = Lan::wide_address_of_board(board);
    !scan::connections(IpAddr::from(host::WIDE[2]), (address, port).into(), 1).is_empty()
}

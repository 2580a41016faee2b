//! The firewall, changed while the board runs: on trial, undone, kept.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::Socket;

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

const JSON: &str = "Content-Type: application/json";

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
        let ask = |path: &str, who: &[&str], public: bool| {
            let (headers, body) = ([&[JSON], who].concat(), format!("{{\"restPublic\": {public}}}"));
            request(api, "POST", path, &headers, body.as_bytes()).unwrap().status
        };
        let (change, confirm) =
            (|public: bool| ask(CHANGE, &[OWNER], public), || ask(CONFIRM, &[OWNER], true));
        let says = |text: &str| client::status(address)["firewall"].as_str().unwrap().contains(text);
        // Nobody else does that.
        assert_eq!((ask(CHANGE, &[], true), ask(CHANGE, &[OTHER], true), confirm()), (400, 401, 400));
        assert!(says("private addresses") && !reaches(&board, 14_265));
        // What holds already is no change.
        assert_eq!(change(false), 200);

        assert_eq!(change(true), 202);
        let stranger = connect(&board, 14_265).expect("everybody is let in");
        let stranger = std::thread::spawn(|| asks_until_cut_off(stranger.into()));
        board.wait_for("the page to say so", || says("everybody") && says("unless"));
        board.wait_for("that to be undone", || !reaches(&board, 14_265));
        board.console_says("nobody confirmed the change of the firewall");
        board.wait_for("the page to say so", || says("private addresses"));
        // Whoever came meanwhile is out, too.
        let stayed = stranger.join().unwrap();
        assert!(stayed > Duration::from_secs(30), "cut off after {stayed:?}");
        assert_eq!(confirm(), 400);

        // Who thinks better of it at once does not confirm the other.
        assert_eq!((change(true), change(false), confirm()), (202, 200, 400));
        assert!(!reaches(&board, 14_265));
        board.wait_for("the next try", || change(true) == 202);
        assert_eq!(change(false), 200);

        // Whoever was connected before shows nothing by that.
        let early = TcpStream::connect(api).unwrap();
        board.wait_for("the next try", || change(true) == 202);
        assert_eq!(request_on(early, "POST", CONFIRM, &[OWNER], &[]).unwrap().status, 400);
        assert_eq!(confirm(), 204);
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

/// Asks again and again on one connection; how long that goes on.
fn asks_until_cut_off(mut stream: TcpStream) -> Duration {
    let started = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    while started.elapsed() < Duration::from_secs(300) {
        let asked = stream.write_all(b"GET /health HTTP/1.1\r\nHost: osmia\r\n\r\n");
        if asked.is_err() || !matches!(stream.read(&mut [0; 4_096]), Ok(1..)) {
            return started.elapsed();
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("never cut off");
}

/// A connection of somebody who is not on the local network.
fn connect(board: &Board, port: u16) -> Option<Socket> {
    let address = Lan::wide_address_of_board(board);
    scan::connections(IpAddr::from(host::WIDE[2]), (address, port).into(), 1).pop()
}

fn reaches(board: &Board, port: u16) -> bool {
    connect(board, port).is_some()
}

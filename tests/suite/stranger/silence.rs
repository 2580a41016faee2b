//! Whoever says nothing is let go in time, and keeps nobody out.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::feeder::heartbeat;
use super::script::{self, Script};
use super::{answers, protocol};
use crate::node::Node;

/// More than may be pending at all.
const MUTE: usize = 140;

/// The peer id of nobody.
const NOBODY: &str = "12D3KooWGdr8M5KX8KuKaXSiKfHJstdVnRkadYmupF7tFk2HrRoA";

/// Waits until the other side ends a connection.
fn wait_ended(connection: &mut TcpStream) {
    connection.set_read_timeout(Some(script::LIMIT)).unwrap();
    let mut rest = Vec::new();
    // What it says by itself is of no interest; it may also reset the connection.
    if let Err(error) = connection.read_to_end(&mut rest) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let started = Instant::now();
    while started.elapsed() < script::LIMIT {
        match listener.accept() {
            Ok((connection, _)) => {
                connection.set_nonblocking(false).unwrap();
                return connection;
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nobody dials");
}

#[test]
fn who_says_nothing_is_let_go_and_keeps_nobody_out() {
    let protocol = protocol("osmia-private");
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let named = format!("/ip4/127.0.0.1/tcp/{}/p2p/{NOBODY}", listener.local_addr().unwrap().port());
    let peers = format!("[peering]\nbind = [\"127.0.0.1:0\"]\npeers = [{{ address = \"{named}\" }}]\n");
    let config = Node::config("[coordinator]\nenabled = true\ninterval_s = 1\n")
        .replace("[peering]\nbind = [\"127.0.0.1:0\"]\n", &peers);
    let node = Node::start_with(&folder.path().join("node.toml"), &config, &folder.path().join("data"));
    node.wait_confirmed(1);

    let port = node.peer.split('/').nth(4).unwrap().parse().unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let mut mute = (0..MUTE).map(|_| TcpStream::connect(at).unwrap()).collect::<Vec<_>>();
    let mut script = Script::start(&protocol);
    script.host("quiet", false);
    let since = Instant::now();
    let mut names = (0..).map(|number| format!("quiet {number}"));
    let quiet = names.find(|name| {
        assert!(since.elapsed() < script::LIMIT, "kept out by mute connections");
        script.dial("quiet", &node.peer, name)
    });
    let quiet = quiet.unwrap();
    script.write(&quiet, &heartbeat(1));
    answers(&mut script, &quiet);
    let quiet_since = Instant::now();
    mute.iter_mut().for_each(wait_ended);

    // Named, and does not answer: given up, and dialled again.
    for _ in 0..2 {
        wait_ended(&mut accept(&listener));
    }

    // HORNET: > a peer that sends not one byte for 60 s is let go
    let closed = loop {
        assert!(quiet_since.elapsed() < 3 * script::LIMIT, "the quiet peer is still there");
        script.event(Duration::from_millis(200));
        if let Some(closed) = script.closed_at(&quiet) {
            break closed;
        }
    };
    // Heard at once, or late: what came before was waited for otherwise.
    assert!(closed - quiet_since > Duration::from_secs(50), "after {:?}", closed - quiet_since);
    node.stop();
}

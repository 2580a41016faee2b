//! The status page: a process of its own, so small that it answers even when the node crashes for ever.
//!
//! It reads two files that PID 1 writes in memory and serves them over plain HTTP: `/` for people, `/status.json`
//! for programs, `/log` for both. It takes no orders and knows no secrets. One thread a connection, at most
//! sixteen, and six of one address; at most 4 KiB and 5 s for a request.

mod page;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// File of the status within the folder, in JSON.
pub const STATUS: &str = "status.json";

/// File of the newest log lines within the folder; older ones are in the same name with `.old` behind.
pub const LOG: &str = "log";

/// Connections at once; further ones are closed.
const MAX_CONNECTIONS: usize = 16;

/// Of these, from one address, or one IPv6 network: as many as a browser opens.
const MAX_OF_ONE: usize = 6;

/// Longest head of a request.
const MAX_HEAD_BYTES: usize = 4_096;

/// A request that is not complete by then is given up.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// Serves what is in `folder` until the process is killed.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve(folder: &Path, listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    let open = Open::default();
    let folder = Arc::new(folder.to_path_buf());
    loop {
        let (stream, address) = match listener.accept() {
            Ok((stream, address)) => (stream, address.ip()),
            Err(error) => {
                tracing::warn!(%error, "status page: connection not accepted");
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let Some(place) = open.enter(address) else { continue };
        let folder = folder.clone();
        let run = move || {
            // Whoever asked may have gone away.
            let _ = answer(stream, &folder);
            drop(place);
        };
        // Without a thread, place and connection are given up.
        let _ = std::thread::Builder::new().name("page".into()).spawn(run);
    }
}

/// Whose connections are open.
#[derive(Debug, Default, Clone)]
struct Open(Arc<Mutex<Vec<u128>>>);

/// A connection's place; dropping it gives it up.
#[derive(Debug)]
struct Place(Open, u128);

impl Open {
    fn enter(&self, address: IpAddr) -> Option<Place> {
        let who = match address.to_canonical() {
            IpAddr::V4(address) => u32::from(address).into(),
            // A customer has a whole /64.
            IpAddr::V6(address) => u128::from(address) >> 64 << 64,
        };
        let mut open = self.lock();
        let own = open.iter().filter(|other| **other == who).count();
        if open.len() >= MAX_CONNECTIONS || own >= MAX_OF_ONE {
            return None;
        }
        open.push(who);
        Some(Place(self.clone(), who))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u128>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.0.lock();
        if let Some(at) = open.iter().position(|other| *other == self.1) {
            open.swap_remove(at);
        }
    }
}

fn answer(mut stream: TcpStream, folder: &Path) -> io::Result<()> {
    stream.set_write_timeout(Some(REQUEST_WITHIN))?;
    let Some(head) = read_head(&mut stream)? else { return Ok(()) };
    let (status, kind, body) = respond(&head, folder);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nContent-Security-Policy: default-src 'none'; style-src 'self'\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// The head of a request; `None` when it is too long, too slow or cut off.
fn read_head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let until = Instant::now() + REQUEST_WITHIN;
    let mut head = Vec::new();
    let mut buffer = [0; 1_024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > MAX_HEAD_BYTES {
            return Ok(None);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

fn respond(head: &str, folder: &Path) -> (&'static str, &'static str, String) {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method != "GET" {
        return ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned());
    }
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
    let text = |name: &str| String::from_utf8_lossy(&read(name)).into_owned();
    let log = || text("log.old") + &text(LOG);
    match path.split('?').next().unwrap_or_default() {
        "/" => ("200 OK", "text/html", page::html(&text(STATUS), &log())),
        "/style.css" => ("200 OK", "text/css", page::STYLE.to_owned()),
        "/status.json" => ("200 OK", "application/json", text(STATUS)),
        "/log" => ("200 OK", "text/plain", log()),
        _ => ("404 Not Found", "text/plain", "there are /, /status.json and /log\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::{LOG, MAX_CONNECTIONS, STATUS, serve};

    fn start() -> (tempfile::TempDir, SocketAddr) {
        let folder = tempfile::tempdir().unwrap();
        let status = r#"{"state":"failing","why":"a <b>","notices":["n & m"],"uptime_s":7}"#;
        std::fs::write(folder.path().join(STATUS), status).unwrap();
        std::fs::write(folder.path().join("log.old"), "older\n").unwrap();
        std::fs::write(folder.path().join(LOG), "<script>\n").unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let path = folder.path().to_path_buf();
        std::thread::spawn(move || serve(&path, free));
        while TcpStream::connect(free).is_err() {
            std::thread::yield_now();
        }
        (folder, free)
    }

    fn ask(server: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn people_and_programs_are_answered() {
        let (_folder, server) = start();
        let page = ask(server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(page.contains("a &lt;b&gt;") && page.contains("n &amp; m"), "{page}");
        assert!(page.contains("older\n&lt;script&gt;") && !page.contains("<script>"), "{page}");
        assert!(ask(server, "GET /status.json HTTP/1.1\r\n\r\n").contains("\"state\":\"failing\""));
        assert!(ask(server, "GET /log?x HTTP/1.0\r\n\r\n").ends_with("older\n<script>\n"));
        assert!(ask(server, "GET /../etc/built HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask(server, "POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        // Too long a head is cut off, and the server lives on.
        let mut stream = TcpStream::connect(server).unwrap();
        let _ = stream.write_all(&[b'x'; 20_000]);
        let _ = stream.read_to_end(&mut Vec::new());
        assert!(ask(server, "GET /log HTTP/1.1\r\n\r\n").contains("200 OK"));
    }

    #[test]
    fn one_that_says_nothing_does_not_shut_others_out() {
        let (_folder, server) = start();
        let silent =
            (0..3 * MAX_CONNECTIONS).map(|_| TcpStream::connect(server).unwrap()).collect::<Vec<_>>();
        // At once, from another address, although the others have five seconds left.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        socket.connect(&server.into()).unwrap();
        let mut other = TcpStream::from(socket);
        other.write_all(b"GET /log HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        other.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("200 OK"), "{answer}");
        // Those beyond the limit are closed at once, the others after their time.
        for mut stream in silent {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.is_empty());
        }
        assert!(ask(server, "GET /log HTTP/1.1\r\n\r\n").contains("200 OK"));
    }
}

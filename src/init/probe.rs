//! Probes: does the node's API answer, does the disk take what is written? Each from a thread of its own, so that
//! one that hangs is silent, which is its message.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::Event;
use crate::boot::policy::Sign;
use crate::rest;

/// Between two requests to the API.
const API_EVERY: Duration = Duration::from_secs(5);

/// An API that takes longer is as good as silent.
const API_WITHIN: Duration = Duration::from_secs(10);

/// Between two writes: 8,640 blocks of 4 KiB a day, always the same one.
const DISK_EVERY: Duration = Duration::from_secs(10);

/// Asks the API for its health, whatever that is.
pub(super) fn api(events: SyncSender<Event>) {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, rest::PROBE_PORT));
    std::thread::spawn(move || {
        loop {
            // Silence says the rest: the node may be starting, or be dead.
            if ask(server).is_ok() && events.send(Event::Sign(Sign::Api)).is_err() {
                return;
            }
            std::thread::sleep(API_EVERY);
        }
    });
}

fn ask(server: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, API_WITHIN)?;
    stream.set_read_timeout(Some(API_WITHIN))?;
    stream.set_write_timeout(Some(API_WITHIN))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: osmia\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 9];
    stream.read_exact(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 ") { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Writes to `path` for ever; the first error ends it and is told.
pub(super) fn disk(path: &Path, events: SyncSender<Event>) {
    let path = path.to_path_buf();
    std::thread::spawn(move || {
        let error = loop {
            match write(&path) {
                Ok(()) if events.send(Event::Sign(Sign::Disk)).is_err() => return,
                Ok(()) => std::thread::sleep(DISK_EVERY),
                Err(error) => break error,
            }
        };
        // PID 1 may be ending.
        let _ = events.send(Event::Disk(error.to_string()));
    });
}

fn write(path: &Path) -> io::Result<()> {
    let write = || {
        let mut file: File = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&rand::random::<[u8; 8]>())?;
        file.sync_data()
    };
    match write() {
        // The node's storage reserve keeps some room; a full disk is its matter, not a broken disk.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        other => other,
    }
}

//! A web server of files, by HTTPS, that behaves as it is told; with an authority for its certificate.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Name of every such server, beside its address.
pub(crate) const NAME: &str = "snapshots.example";

/// What a server does with a request for a file.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each program that tests uses some")]
pub(crate) enum Manner {
    Good,
    /// Sends this many bytes of what was asked for, then hangs up.
    HangsUp(usize),
    /// Sends this many, then nothing more.
    FallsSilent(usize),
    /// Sends this many, then ten each fifth of a second.
    Drips(usize),
    /// Knows no parts.
    Whole,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Paths, each with the first byte that was asked for.
    pub(crate) asked: Arc<Mutex<Vec<(String, usize)>>>,
    pub(crate) files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

/// An authority, and what certificates it makes.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    fn server_config(&self, address: Ipv4Addr) -> Arc<rustls::ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let names = vec![address.to_string(), NAME.to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }

    pub(crate) fn serve(&self, address: Ipv4Addr, files: &[(&str, &[u8])], manner: Manner) -> Server {
        let config = self.server_config(address);
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let files = files.iter().map(|(name, file)| ((*name).to_owned(), file.to_vec())).collect();
        let (files, asked) = (Arc::new(Mutex::new(files)), Arc::new(Mutex::new(Vec::new())));
        let (served, noted) = (files.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, files, asked) = (config.clone(), served.clone(), noted.clone());
                std::thread::spawn(move || {
                    // Clients go away in the middle: that is their right.
                    let _ = answer(config, stream, &files, &asked, manner);
                });
            }
        });
        Server { address, asked, files }
    }
}

/// A thread that panics has failed the test already.
pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

type Files = Mutex<BTreeMap<String, Vec<u8>>>;

fn answer(
    config: Arc<rustls::ServerConfig>,
    stream: TcpStream,
    files: &Files,
    asked: &Mutex<Vec<(String, usize)>>,
    manner: Manner,
) -> std::io::Result<()> {
    let connection = rustls::ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    let mut reader = BufReader::with_capacity(1, &mut stream);
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Ok(());
        }
    }
    drop(reader);
    let head = String::from_utf8_lossy(&head).into_owned();
    let field = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")));
        line.map(|line| line[name.len() + 2..].to_owned())
    };
    let path = head.split(' ').nth(1).unwrap().to_owned();
    if let Some(elsewhere) = path.strip_prefix("/moved") {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n");
        return stream.write_all(head.as_bytes());
    }
    let file = lock(files).get(&path).cloned();
    let Some(file) = file else {
        lock(asked).push((path, 0));
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    let tag =
        format!("\"{:x}\"", file.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte)));
    let same = field("if-range").is_none_or(|wanted| wanted == tag);
    let range = field("range").filter(|_| same && manner != Manner::Whole);
    let (mut from, mut to) = (0, file.len());
    if let Some((first, last)) =
        range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
    {
        from = first.parse().map_err(std::io::Error::other)?;
        to = last.parse().map_or(to, |last: usize| to.min(last + 1));
    }
    lock(asked).push((path, from));
    let status = match range {
        Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", to - 1, file.len()),
        None => "200 OK".to_owned(),
    };
    let body = &file[from..to];
    write!(stream, "HTTP/1.1 {status}\r\nETag: {tag}\r\nContent-Length: {}\r\n\r\n", body.len())?;
    match manner {
        Manner::Good | Manner::Whole => stream.write_all(body)?,
        Manner::HangsUp(most) => stream.write_all(&body[..body.len().min(most)])?,
        Manner::Drips(most) => {
            let (first, rest) = body.split_at(body.len().min(most));
            stream.write_all(first)?;
            for drop in rest.chunks(10) {
                stream.flush()?;
                std::thread::sleep(std::time::Duration::from_millis(200));
                stream.write_all(drop)?;
            }
        }
        Manner::FallsSilent(most) => {
            stream.write_all(&body[..body.len().min(most)])?;
            stream.flush()?;
            // Until the client has enough of it.
            stream.read_exact(&mut [0])?;
        }
    }
    stream.flush()
}

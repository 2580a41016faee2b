//! The date of a web server: for networks that let no NTP through.
//!
//! A certificate is valid for a time, and the time is what is asked for. So the certificate is checked last, at the
//! very time that its owner claims: whoever holds a certificate for the address may say any time within it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
};

use super::unix_ns;
use crate::boot::clock::{Kind, Sample};

/// Port of HTTPS; tests use another.
pub const PORT: u16 = 443;

/// For connecting, and for everything after that.
const WITHIN: Duration = Duration::from_secs(6);

/// No server has a longer head.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// The authorities that certificates are checked against.
#[derive(Debug, Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Those that browsers know.
    pub fn public() -> Self {
        Self(Arc::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()))
    }

    /// Just one.
    ///
    /// # Errors
    /// It is no certificate.
    pub fn only(certificate: CertificateDer<'static>) -> Result<Self, rustls::Error> {
        let mut store = RootCertStore::empty();
        store.add(certificate)?;
        Ok(Self(Arc::new(store)))
    }
}

/// Asks for the date.
pub(super) fn sample(server: SocketAddr, roots: &Roots) -> io::Result<Sample> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(roots.0.clone(), provider.clone())
        .build()
        .map_err(io::Error::other)?;
    let later = Arc::new(CheckLater { inner, presented: Mutex::new(None) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(later.clone())
        .with_no_client_auth();
    let name = ServerName::from(server.ip());
    let connection = ClientConnection::new(Arc::new(config), name.clone()).map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&server, WITHIN)?;
    let mut stream = StreamOwned::new(connection, Hurried { stream, until: Instant::now() + WITHIN });
    // The handshake comes first, so that it does not count as part of the answer's way.
    stream.conn.complete_io(&mut stream.sock)?;
    let (sent, clock) = (unix_ns(), Instant::now());
    stream.write_all(request(server.ip()).as_bytes())?;
    let head = read_head(&mut stream)?;
    let took = i64::try_from(clock.elapsed().as_nanos()).unwrap_or(i64::MAX);
    let date = date(&head).ok_or_else(|| io::Error::other("no date in the answer"))?;
    later.check(&name, date)?;
    let claimed = i128::try_from(date.as_nanos()).unwrap_or(i128::MAX);
    let offset = claimed - (sent + i128::from(took / 2));
    let offset_ns = i64::try_from(offset).map_err(io::Error::other)?;
    Ok(Sample { source: server.ip(), kind: Kind::Https, offset_ns, delay_ns: took })
}

fn request(server: IpAddr) -> String {
    let host = match server {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 2_048];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD_BYTES {
            return Err(io::Error::other("the answer has no end"));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The `Date` header, since 1970.
fn date(head: &str) -> Option<Duration> {
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("date").then(|| value.trim())
    })?;
    httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()
}

/// A connection whose every wait ends at one point in time, however slowly the other side drips.
struct Hurried {
    stream: TcpStream,
    until: Instant,
}

impl Hurried {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Hurried {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Hurried {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What a server presented: its own certificate and those between it and an authority.
type Presented = (CertificateDer<'static>, Vec<CertificateDer<'static>>);

/// Takes any certificate during the handshake, whose signatures are checked as ever; [`CheckLater::check`] then
/// decides.
#[derive(Debug)]
struct CheckLater {
    inner: Arc<WebPkiServerVerifier>,
    presented: Mutex<Option<Presented>>,
}

impl CheckLater {
    fn check(&self, name: &ServerName<'_>, at: Duration) -> io::Result<()> {
        let presented = self.presented.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let (own, between) = presented.ok_or_else(|| io::Error::other("no certificate"))?;
        self.inner
            .verify_server_cert(&own, &between, name, &[], UnixTime::since_unix_epoch(at))
            .map(drop)
            .map_err(io::Error::other)
    }
}

impl ServerCertVerifier for CheckLater {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let between = between.iter().map(|one| one.clone().into_owned()).collect();
        let presented = Some((own.clone().into_owned(), between));
        *self.presented.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = presented;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

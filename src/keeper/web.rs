//! Files from web servers: HTTPS alone, from any byte on, and a server that falls silent is given up.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::config::Url;

/// For a connection, with all that it needs before the answer begins.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A server that sends nothing for so long is given up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// From one server to the next.
const MOST_REDIRECTS: usize = 5;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The network, or the file system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// No address for a name.
    #[error("{host}: {problem}")]
    Name {
        /// The name.
        host: String,
        /// Why it has none.
        problem: String,
    },
    /// Too slow.
    #[error("{0} takes too long")]
    Slow(&'static str),
    /// An answer of another kind.
    #[error("the server answers {0}")]
    Status(StatusCode),
    /// Something that it must not say.
    #[error("the server {0}")]
    Answer(&'static str),
}

/// Where names of servers are looked up.
#[derive(Debug, Clone)]
pub enum Names {
    /// As the operating system does it.
    System,
    /// At these, as they are at the moment: a board has no operating system beside this program.
    Servers(watch::Receiver<Vec<SocketAddr>>),
}

impl Names {
    /// The addresses of a host, which may be one itself.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<IpAddr>, String> {
        match (host.parse::<IpAddr>(), self) {
            (Ok(address), _) => Ok(vec![address]),
            (Err(_), Self::System) => {
                let found = tokio::net::lookup_host((host, port)).await;
                Ok(found.map_err(|error| error.to_string())?.map(|found| found.ip()).collect())
            }
            (Err(_), Self::Servers(servers)) => {
                let servers = servers.borrow().clone();
                look_up(&servers, host).await
            }
        }
    }
}

/// A client. Cheap to clone.
#[derive(Clone)]
pub struct Web {
    tls: TlsConnector,
    names: Names,
    patience: Duration,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Which part of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    /// The first byte.
    pub(super) from: u64,
    /// The last one, if not all is wanted.
    pub(super) to: Option<u64>,
    /// The file is still the one of which the bytes before are here; else all of it is wanted.
    pub(super) validator: Option<String>,
}

/// A file, or a part of it, on its way.
#[derive(Debug)]
pub(super) struct Answer {
    /// Where it begins: not always where it was asked to.
    pub(super) from: u64,
    /// Length of the whole file, if the server tells.
    pub(super) length: Option<u64>,
    /// What tells this file from its successor of the same name.
    pub(super) validator: Option<String>,
    body: Incoming,
    patience: Duration,
}

impl Answer {
    /// The next bytes; `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, WebError> {
        loop {
            let frame = tokio::time::timeout(self.patience, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| WebError::Slow("the server's next part"))? else {
                return Ok(None);
            };
            // Trailers say nothing of interest.
            if let Ok(bytes) = frame?.into_data() {
                return Ok(Some(bytes));
            }
        }
    }
}

impl Web {
    /// Trusts the public authorities or, when one is named, in PEM, that one alone.
    ///
    /// # Errors
    /// It is none.
    pub fn new(authority: Option<&str>, names: Names, patience: Duration) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        match authority {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
                }
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), names, patience })
    }

    /// How long a server may be silent, or next to it.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Asks for a file, also where the server says that it went to.
    pub(super) async fn get(&self, url: &Url, part: &Part) -> Result<Answer, WebError> {
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let asked = tokio::time::timeout(ANSWERS_WITHIN, self.ask(&url, part)).await;
            let answer = asked.map_err(|_| WebError::Slow("the server's answer"))??;
            if !answer.status().is_redirection() {
                return self.begin(answer, part);
            }
            let location = text(answer.headers(), &header::LOCATION);
            let location = location.ok_or(WebError::Answer("redirects to nowhere"))?;
            let next = match location.starts_with('/') {
                true => Url::parse(&format!("https://{}{location}", url.authority())),
                false => Url::parse(&location),
            };
            url = next.ok_or(WebError::Answer("redirects to where no HTTPS is"))?;
        }
        Err(WebError::Answer("redirects without an end"))
    }

    fn begin(&self, answer: Response<Incoming>, part: &Part) -> Result<Answer, WebError> {
        let number = |text: &str| text.parse::<u64>().ok();
        let headers = answer.headers();
        let (from, length) = match answer.status() {
            StatusCode::OK => (0, text(headers, &header::CONTENT_LENGTH).and_then(|text| number(&text))),
            StatusCode::PARTIAL_CONTENT => {
                // RFC 9110 §14.4: > bytes first-last/length
                let range = text(headers, &header::CONTENT_RANGE);
                let range = range.as_deref().and_then(|range| range.strip_prefix("bytes "));
                let parsed = range.and_then(|range| {
                    let (part, length) = range.split_once('/')?;
                    Some((number(part.split_once('-')?.0)?, number(length)))
                });
                parsed.ok_or(WebError::Answer("does not tell which part it sends"))?
            }
            other => return Err(WebError::Status(other)),
        };
        if from != 0 && from != part.from {
            return Err(WebError::Answer("sends another part than it was asked for"));
        }
        // RFC 9110 §13.1.5: > a weak entity tag is of no use for a range
        let tag = text(headers, &header::ETAG).filter(|tag| !tag.starts_with("W/"));
        let validator = tag.or_else(|| text(headers, &header::LAST_MODIFIED));
        Ok(Answer { from, length, validator, body: answer.into_body(), patience: self.patience })
    }

    async fn ask(&self, url: &Url, part: &Part) -> Result<Response<Incoming>, WebError> {
        let stream = self.connect(url).await?;
        let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)?;
        let stream = self.tls.connect(name, stream).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer's body, or when that is dropped.
        tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::get(url.path())
            .header(header::HOST, url.authority())
            .header(header::USER_AGENT, concat!("osmia/", env!("CARGO_PKG_VERSION")));
        if part.from > 0 || part.to.is_some() {
            let to = part.to.map_or_else(String::new, |to| to.to_string());
            request = request.header(header::RANGE, format!("bytes={}-{to}", part.from));
        }
        if let Some(validator) = &part.validator {
            request = request.header(header::IF_RANGE, validator);
        }
        let request = request.body(Empty::<Bytes>::new());
        let request = request.map_err(|error| WebError::Io(io::Error::other(error)))?;
        Ok(sender.send_request(request).await?)
    }

    /// To the first of the name's addresses that answers.
    async fn connect(&self, url: &Url) -> Result<TcpStream, WebError> {
        let none = |problem: String| WebError::Name { host: url.host().to_owned(), problem };
        let addresses = self.names.addresses(url.host(), url.port).await.map_err(none)?;
        let mut failed = none("has no address".to_owned());
        for address in addresses {
            match TcpStream::connect((address, url.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }
}

/// Asks name servers for the addresses of a host.
async fn look_up(servers: &[SocketAddr], host: &str) -> Result<Vec<IpAddr>, String> {
    if servers.is_empty() {
        return Err("no name server is known: the network names none by DHCP".to_owned());
    }
    let server = |address: &SocketAddr| {
        let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|connection| connection.port = address.port());
        NameServerConfig::new(address.ip(), true, connections.to_vec())
    };
    let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
    let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build();
    let resolver = resolver.map_err(|error| error.to_string())?;
    // Fully qualified: a board belongs to no domain.
    let found = resolver.lookup_ip(format!("{host}.")).await.map_err(|error| error.to_string())?;
    Ok(found.iter().collect())
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
}

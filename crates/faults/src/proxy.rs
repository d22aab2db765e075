//! The network between one process and one server, with weather.
//!
//! Each connection of a service instance to a server goes through a proxy of its own, so that a fault hits one side of
//! one line only. What is held back is not lost: as with TCP over a network that heals, it arrives late.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

const CHUNK_BYTES: usize = 16 * 1024;

/// What happens to what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nothing.
    Calm,
    /// Connections are reset, new ones too.
    Reset,
    /// The server's side of the connections there are is closed; the client's stays open.
    HalfClose,
    /// Nothing arrives, in one direction or in both; connecting works.
    BlackHole { requests: bool, replies: bool },
    /// Each piece arrives so much later.
    Delay(Duration),
    /// So many bytes a second, each way.
    Throttle { bytes_per_second: u32 },
    /// So many bytes of replies still arrive, then the connection is reset in the middle of one.
    CutReply { after_bytes: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Reply,
}

/// The connection is to be reset.
struct Reset;

/// A listening proxy. Lives until its runtime ends.
#[derive(Clone)]
pub(crate) struct Proxy {
    /// The port on 127.0.0.1 that stands for the server's.
    pub(crate) port: u16,
    sky: Arc<Sky>,
}

struct Sky {
    weather: watch::Sender<Weather>,
    /// What may still arrive before the cut.
    reply_bytes_left: AtomicU64,
    next_upstream: AtomicUsize,
}

impl Proxy {
    /// Listens for the servers on these ports, which take turns.
    ///
    /// # Errors
    /// There is no free port.
    pub(crate) async fn start(upstreams: Vec<u16>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, testkit::servers::free_port()?)).await?;
        let port = listener.local_addr()?.port();
        let sky = Arc::new(Sky {
            weather: watch::Sender::new(Weather::Calm),
            reply_bytes_left: AtomicU64::new(0),
            next_upstream: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&sky);
        tokio::spawn(async move {
            // An `accept` that fails concerns one connection.
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, upstreams.clone(), Arc::clone(&shared)));
                }
            }
        });
        Ok(Self { port, sky })
    }

    pub(crate) fn set(&self, weather: Weather) {
        if let Weather::CutReply { after_bytes } = weather {
            self.sky.reply_bytes_left.store(after_bytes, Ordering::SeqCst);
        }
        self.sky.weather.send_replace(weather);
    }
}

async fn serve(mut client: TcpStream, upstreams: Vec<u16>, sky: Arc<Sky>) {
    let now = *sky.weather.borrow();
    let server = match now {
        Weather::Reset => None,
        _ => connect(&upstreams, &sky).await,
    };
    let Some(mut server) = server else {
        // As near as a proxy comes to a port that nobody listens on.
        client.set_zero_linger().ok();
        return;
    };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let carried = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        tokio::try_join!(
            carry(&mut from_client, &mut to_server, Way::Request, &sky),
            carry(&mut from_server, &mut to_client, Way::Reply, &sky),
        )
    };
    if carried.is_err() {
        client.set_zero_linger().ok();
        server.set_zero_linger().ok();
    }
}

/// The next server that answers.
async fn connect(upstreams: &[u16], sky: &Sky) -> Option<TcpStream> {
    for _ in upstreams {
        let turn = sky.next_upstream.fetch_add(1, Ordering::Relaxed);
        let port = upstreams[turn % upstreams.len()];
        if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            return Some(server);
        }
    }
    None
}

async fn carry(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, way: Way, sky: &Sky) -> Result<(), Reset> {
    let mut weather = sky.weather.subscribe();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = weather.changed() => {
                let now = *weather.borrow_and_update();
                match now {
                    Weather::Reset => return Err(Reset),
                    Weather::HalfClose if way == Way::Reply => return to.shutdown().await.map_err(|_| Reset),
                    _ => continue,
                }
            }
        };
        let count = match read {
            Ok(0) => return to.shutdown().await.map_err(|_| Reset),
            Ok(count) => count,
            Err(_) => return Err(Reset),
        };
        let arrives = endure(&mut weather, way, count, sky).await?;
        to.write_all(&buffer[..arrives]).await.map_err(|_| Reset)?;
        if arrives < count {
            return Err(Reset);
        }
    }
}

/// Holds a piece back for as long as the weather wants it, and says how much of it arrives.
async fn endure(weather: &mut watch::Receiver<Weather>, way: Way, count: usize, sky: &Sky) -> Result<usize, Reset> {
    loop {
        let now = *weather.borrow_and_update();
        match now {
            Weather::Calm | Weather::HalfClose => return Ok(count),
            Weather::Reset => return Err(Reset),
            Weather::BlackHole { requests, replies } => {
                let swallowed = if way == Way::Request { requests } else { replies };
                if !swallowed || weather.changed().await.is_err() {
                    return Ok(count);
                }
            }
            Weather::Delay(by) => {
                sleep(by).await;
                return Ok(count);
            }
            Weather::Throttle { bytes_per_second } => {
                let seconds = u32::try_from(count).unwrap_or(u32::MAX);
                sleep(Duration::from_secs(1) * seconds / bytes_per_second.max(1)).await;
                return Ok(count);
            }
            Weather::CutReply { .. } if way == Way::Request => return Ok(count),
            Weather::CutReply { .. } => {
                let take = |left: u64| Some(left.saturating_sub(count as u64));
                let left = sky
                    .reply_bytes_left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
                let left = left.unwrap_or_else(|left| left);
                return Ok(count.min(usize::try_from(left).unwrap_or(usize::MAX)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::time::timeout;

    use super::*;

    /// A server that sends back what it gets, and a proxy in front of it.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        Proxy::start(vec![port]).await.unwrap()
    }

    async fn client(proxy: &Proxy) -> TcpStream {
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await.unwrap();
        assert_eq!(said(&mut client, b"hello").await.unwrap(), b"hello");
        client
    }

    async fn said(client: &mut TcpStream, words: &[u8]) -> std::io::Result<Vec<u8>> {
        client.write_all(words).await?;
        let mut answer = vec![0; words.len()];
        client.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn what_a_black_hole_holds_arrives_when_it_is_gone() {
        let proxy = echo().await;
        let mut client = client(&proxy).await;
        proxy.set(Weather::BlackHole {
            requests: false,
            replies: true,
        });
        let mut answer = Box::pin(said(&mut client, b"later"));
        assert!(timeout(Duration::from_millis(100), &mut answer).await.is_err());
        proxy.set(Weather::Calm);
        assert_eq!(answer.await.unwrap(), b"later");
    }

    #[tokio::test]
    async fn a_reset_ends_the_connections_there_are_and_refuses_new_ones() {
        let proxy = echo().await;
        let mut client = client(&proxy).await;
        proxy.set(Weather::Reset);
        let error = client.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let mut late = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await.unwrap();
        assert!(said(&mut late, b"hello").await.is_err());
    }

    #[tokio::test]
    async fn a_reply_is_cut_after_the_byte_that_was_said() {
        let proxy = echo().await;
        let mut client = client(&proxy).await;
        proxy.set(Weather::CutReply { after_bytes: 3 });
        client.write_all(b"abcdef").await.unwrap();
        let mut answer = [0; 3];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"abc");
        assert!(client.read_u8().await.is_err());
    }

    #[tokio::test]
    async fn half_closed_means_that_the_client_still_talks() {
        let proxy = echo().await;
        let mut client = client(&proxy).await;
        proxy.set(Weather::HalfClose);
        assert_eq!(client.read_u8().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        client.write_all(b"anyone?").await.unwrap();
    }
}

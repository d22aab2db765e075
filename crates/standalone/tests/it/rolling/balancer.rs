//! What stands before the instances of one service: connections go to those whose `/readyz` is green, in turn.
//!
//! It is harder than a cluster, where SIGTERM comes when no proxy sends to the pod any more (`preStop` in the
//! manifests): here connections still come. One thing is as with an ingress: whoever refuses a connection has not seen
//! the request, so the next instance is asked.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::interval;

/// How often each instance is asked whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A running balancer. Dropping it ends it, and every connection through it.
pub(super) struct Balancer {
    pub(super) address: SocketAddr,
    backends: Arc<Backends>,
    _tasks: JoinSet<()>,
}

struct Backends {
    all: Vec<Backend>,
    turn: AtomicUsize,
}

struct Backend {
    address: SocketAddr,
    operations: SocketAddr,
    /// What `/readyz` said last; 0 when nobody answered.
    readiness: AtomicU16,
}

impl Balancer {
    /// Before instances that need not run yet: where each listens, and where its operations port is.
    pub(super) async fn start(instances: impl IntoIterator<Item = (SocketAddr, SocketAddr)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let all = instances.into_iter().map(|(address, operations)| Backend {
            address,
            operations,
            readiness: AtomicU16::new(0),
        });
        let backends = Arc::new(Backends {
            all: all.collect(),
            turn: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        for index in 0..backends.all.len() {
            let backends = Arc::clone(&backends);
            tasks.spawn(async move { backends.all[index].watch().await });
        }
        tasks.spawn(serve(listener, Arc::clone(&backends)));
        Self {
            address,
            backends,
            _tasks: tasks,
        }
    }

    /// What the instance that listens there last said of its readiness.
    pub(super) fn readiness(&self, address: SocketAddr) -> u16 {
        let backend = self.backends.all.iter().find(|backend| backend.address == address);
        backend.unwrap().readiness.load(Ordering::SeqCst)
    }
}

impl Backend {
    async fn watch(&self) {
        let mut looks = interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let readiness = readiness(self.operations).await.unwrap_or(0);
            self.readiness.store(readiness, Ordering::SeqCst);
        }
    }
}

impl Backends {
    /// The ready ones, beginning with whose turn it is.
    fn ready(&self) -> Vec<SocketAddr> {
        let count = self.all.len();
        let first = self.turn.fetch_add(1, Ordering::SeqCst);
        let in_turn = (0..count).map(|offset| &self.all[(first + offset) % count]);
        in_turn
            .filter(|backend| backend.readiness.load(Ordering::SeqCst) == 200)
            .map(|backend| backend.address)
            .collect()
    }
}

/// The status of `/readyz`; None when nobody answers.
pub(super) async fn readiness(operations: SocketAddr) -> Option<u16> {
    let mut stream = TcpStream::connect(operations).await.ok()?;
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

async fn serve(listener: TcpListener, backends: Arc<Backends>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let backends = Arc::clone(&backends);
        connections.spawn(async move { forward(client, &backends).await });
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(mut client: TcpStream, backends: &Backends) {
    for address in backends.ready() {
        match TcpStream::connect(address).await {
            Ok(mut server) => {
                // However it ends, both sides notice.
                copy_bidirectional(&mut client, &mut server).await.ok();
                return;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}"),
        }
    }
}

//! A mail server that does what a test tells it, and remembers what was said to it.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A client that says nothing for this long has forgotten the server.
const SILENCE: Duration = Duration::from_secs(60);

/// How the server encrypts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    Never,
    /// STARTTLS.
    OnRequest,
    FromTheStart,
}

/// What the server does instead of being pleased.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Say(&'static str),
    /// Closes the connection without a word.
    HangUp,
    /// Is pleased, but not before [`MailServer::go_on`].
    Wait,
}

/// Steps are named after their command; `CONTENT` is the mail itself.
struct Script {
    answers: HashMap<&'static str, Answer>,
    go_on: Arc<(Mutex<bool>, Condvar)>,
}

pub(crate) struct MailServer {
    address: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
    go_on: Arc<(Mutex<bool>, Condvar)>,
}

impl MailServer {
    pub(crate) fn start(tls: Tls, script: impl IntoIterator<Item = (&'static str, Answer)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            said: Arc::default(),
            go_on: Arc::default(),
        };
        let said = Arc::clone(&server.said);
        let script = Script {
            answers: script.into_iter().collect(),
            go_on: Arc::clone(&server.go_on),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that goes away is part of many tests.
                let _ended = serve(stream.unwrap(), tls, &script, &said);
            }
        });
        server
    }

    /// Ends every [`Answer::Wait`].
    pub(crate) fn go_on(&self) {
        *self.go_on.0.lock().unwrap() = true;
        self.go_on.1.notify_all();
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every line said to the server, over all connections; a mail is one entry.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// The commands among them, by their first word.
    pub(crate) fn commands(&self) -> Vec<String> {
        let word = |line: String| line.split([' ', ':', '\r', '\n']).next().unwrap_or_default().to_owned();
        self.said().into_iter().map(word).collect()
    }

    /// The mails.
    pub(crate) fn mails(&self) -> Vec<String> {
        self.said()
            .into_iter()
            .filter(|said| said.contains("\r\n\r\n"))
            .collect()
    }
}

/// The certificate of every encrypting server here and its key, for `localhost` and 127.0.0.1, made anew by each run.
static TLS: LazyLock<(tempfile::TempDir, PrivateKeyDer<'static>)> = LazyLock::new(|| {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("certificate.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    (directory, key)
});

/// Where a client finds that certificate.
pub(crate) fn certificate() -> PathBuf {
    TLS.0.path().join("certificate.pem")
}

fn serve(stream: TcpStream, tls: Tls, script: &Script, said: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    if tls == Tls::FromTheStart {
        return converse(encrypted(stream)?, true, false, script, said).map(drop);
    }
    match converse(stream, true, tls == Tls::OnRequest, script, said)? {
        Some(stream) => converse(encrypted(stream)?, false, false, script, said).map(drop),
        None => Ok(()),
    }
}

fn encrypted(stream: TcpStream) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let certificate = CertificateDer::from_pem_file(certificate()).unwrap();
    let key = TLS.1.clone_key();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key))
        .map_err(io::Error::other)?;
    let connection = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Talks until the client leaves, or until it wants TLS: then gives the stream back.
fn converse<S: Read + Write>(
    stream: S,
    greet: bool,
    offer_tls: bool,
    script: &Script,
    said: &Mutex<Vec<String>>,
) -> io::Result<Option<S>> {
    let mut stream = BufReader::new(stream);
    if greet && !answer(&mut stream, "GREETING", "220 at your service", script)? {
        return Ok(None);
    }
    loop {
        let line = read(&mut stream, "\n")?;
        said.lock().unwrap().push(line.trim_end().to_owned());
        let command = line
            .split([' ', ':', '\r'])
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let extensions = if offer_tls { "250-STARTTLS\r\n" } else { "" };
        let pleased = match command.as_str() {
            "EHLO" => &format!("250-localhost\r\n{extensions}250 AUTH PLAIN LOGIN"),
            "AUTH" => "235 welcome",
            "DATA" => "354 go ahead",
            "STARTTLS" | "QUIT" => "220 so be it",
            _ => "250 fine",
        };
        if !answer(&mut stream, &command, pleased, script)? {
            return Ok(None);
        }
        match command.as_str() {
            "STARTTLS" => return Ok(Some(stream.into_inner())),
            "DATA" if !script.answers.contains_key("DATA") => {
                let mail = read(&mut stream, "\r\n.\r\n")?;
                said.lock().unwrap().push(mail);
                if !answer(&mut stream, "CONTENT", "250 taken", script)? {
                    return Ok(None);
                }
            }
            "QUIT" => return Ok(None),
            _ => {}
        }
    }
}

/// False when the script says to hang up.
fn answer<S: Read + Write>(stream: &mut BufReader<S>, step: &str, pleased: &str, script: &Script) -> io::Result<bool> {
    let line = match script.answers.get(step) {
        Some(Answer::Say(line)) => line,
        Some(Answer::HangUp) => return Ok(false),
        Some(Answer::Wait) => {
            let (go_on, told) = &*script.go_on;
            drop(told.wait_while(go_on.lock().unwrap(), |go_on| !*go_on).unwrap());
            pleased
        }
        None => pleased,
    };
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
    stream.get_mut().flush()?;
    Ok(true)
}

/// Reads up to and including `end`.
fn read<S: Read>(stream: &mut BufReader<S>, end: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        if stream.read_until(b'\n', &mut bytes)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    String::from_utf8(bytes).map_err(io::Error::other)
}

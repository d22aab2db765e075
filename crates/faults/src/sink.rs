//! A mail server with moods. Every mail it takes is in the ledger, also those whose sender never heard so.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::ledger::Ledger;

/// The longest dialogue worth having.
const MAX_MAIL_LINES: usize = 10_000;

/// How the server treats whoever calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes mails.
    Kind,
    /// 451 to each mail.
    Busy,
    /// 554 instead of a greeting.
    Closed,
    /// 550 after a whole mail, which is then not taken for good.
    Refusing,
    /// Takes its time for each answer.
    Slow(Duration),
    /// Takes the mail and hangs up before it says so.
    CutBeforeAnswer,
}

/// A mail that arrived whole.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) at: Duration,
    pub(crate) message_id: String,
    /// Whom the server was told to give it to.
    pub(crate) recipients: Vec<String>,
    /// All of it.
    pub(crate) text: String,
    /// False when the server said that it will never take it.
    pub(crate) taken: bool,
}

/// A mail server on 127.0.0.1.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) port: u16,
    mood: Arc<watch::Sender<Mood>>,
    mails: Arc<Mutex<Vec<Mail>>>,
    ledger: Arc<Ledger>,
}

impl Sink {
    /// Starts it.
    pub(crate) async fn start(ledger: Arc<Ledger>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, testkit::servers::free_port()?)).await?;
        let sink = Self {
            port: listener.local_addr()?.port(),
            mood: Arc::new(watch::Sender::new(Mood::Kind)),
            mails: Arc::default(),
            ledger,
        };
        let server = sink.clone();
        tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    let server = server.clone();
                    // A client that breaks off is what half of this is about.
                    tokio::spawn(async move { server.talk(client).await.ok() });
                }
            }
        });
        Ok(sink)
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// What has arrived so far.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.book().clone()
    }

    fn book(&self) -> MutexGuard<'_, Vec<Mail>> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn talk(&self, mut client: TcpStream) -> std::io::Result<()> {
        let (from, mut to) = client.split();
        let mut lines = BufReader::new(from).lines();
        let mood = *self.mood.borrow();
        if mood == Mood::Closed {
            return to.write_all(b"554 closed today\r\n").await;
        }
        self.say(&mut to, "220 sink").await?;
        let mut recipients = Vec::new();
        while let Some(line) = lines.next_line().await? {
            let mood = *self.mood.borrow();
            let command = line.get(..4).unwrap_or(&line).to_ascii_uppercase();
            let answer = match &*command {
                "EHLO" => "250-sink\r\n250 8BITMIME",
                "MAIL" if mood == Mood::Busy => "451 busy, try later",
                "MAIL" => {
                    recipients.clear();
                    "250 ok"
                }
                "RCPT" => {
                    recipients.extend(recipient(&line));
                    "250 ok"
                }
                "DATA" => {
                    self.say(&mut to, "354 go on").await?;
                    let mut text = String::new();
                    let mut whole = false;
                    for _ in 0..MAX_MAIL_LINES {
                        match lines.next_line().await? {
                            Some(line) if line == "." => {
                                whole = true;
                                break;
                            }
                            Some(line) => text.extend([&line, "\n"]),
                            None => break,
                        }
                    }
                    if !whole {
                        return Ok(());
                    }
                    let mood = *self.mood.borrow();
                    self.keep(text, std::mem::take(&mut recipients), mood);
                    match mood {
                        Mood::CutBeforeAnswer => return Ok(()),
                        Mood::Refusing => "550 no such mailbox",
                        _ => "250 taken",
                    }
                }
                "QUIT" => {
                    self.say(&mut to, "221 bye").await?;
                    return Ok(());
                }
                _ => "250 ok",
            };
            self.say(&mut to, answer).await?;
        }
        Ok(())
    }

    async fn say(&self, to: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &str) -> std::io::Result<()> {
        let mood = *self.mood.borrow();
        if let Mood::Slow(by) = mood {
            sleep(by).await;
        }
        to.write_all(format!("{answer}\r\n").as_bytes()).await
    }

    fn keep(&self, text: String, recipients: Vec<String>, mood: Mood) {
        let id = text.lines().find_map(|line| line.strip_prefix("Message-ID: "));
        let mail = Mail {
            at: self.ledger.now(),
            message_id: id.unwrap_or_default().trim().to_owned(),
            recipients,
            taken: mood != Mood::Refusing,
            text,
        };
        let facts = json!({ "message_id": mail.message_id, "to": mail.recipients, "mood": format!("{mood:?}"), "text": mail.text });
        self.ledger.note("mail", facts);
        self.book().push(mail);
    }
}

/// The address in `RCPT TO:<address>`.
fn recipient(line: &str) -> Option<String> {
    let (_, address) = line.split_once('<')?;
    Some(address.split_once('>')?.0.to_owned())
}

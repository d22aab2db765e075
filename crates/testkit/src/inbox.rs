//! An SMTP server in the test's own process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use mailcrab::MailMessage;
use tokio::net::TcpStream;
use tokio::sync::broadcast::{Receiver, channel, error::RecvError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::servers::free_port;

const POLL: Duration = Duration::from_millis(20);
const START_DEADLINE: Duration = Duration::from_secs(30);
/// More than any test sends before the collector runs.
const CAPACITY: usize = 1024;

/// A plain SMTP server on 127.0.0.1 that takes every mail and keeps it. Dropping it stops it.
#[derive(Debug)]
pub struct Inbox {
    address: SocketAddr,
    mails: watch::Receiver<Vec<Mail>>,
    _stop: DropGuard,
}

/// A mail as it arrived.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Whom the envelope names.
    pub recipients: Vec<String>,
    /// The decoded subject.
    pub subject: String,
    /// The decoded `text/plain` part.
    pub text: String,
    /// All of it, as it came over the wire.
    pub raw: Vec<u8>,
}

impl Inbox {
    /// Starts a server on a free port; returns when it answers.
    pub async fn start() -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let stop = CancellationToken::new();
        let (arriving, arrived) = channel(CAPACITY);
        let (keep, mails) = watch::channel(Vec::new());
        tokio::spawn(mailcrab::mail_server(
            address.ip(),
            address.port(),
            arriving,
            false,
            stop.clone(),
        ));
        tokio::spawn(collect(arrived, keep));
        let inbox = Self {
            address,
            mails,
            _stop: stop.drop_guard(),
        };
        inbox.wait_until_it_answers().await?;
        Ok(inbox)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `smtp://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// What has arrived so far, in order.
    pub fn mails(&self) -> Vec<Mail> {
        self.mails.borrow().clone()
    }

    /// Waits until at least `count` mails have arrived and returns all of them.
    ///
    /// # Errors
    ///
    /// When they have not within `deadline`.
    pub async fn wait_for(&self, count: usize, deadline: Duration) -> anyhow::Result<Vec<Mail>> {
        let mut mails = self.mails.clone();
        let Ok(enough) = timeout(deadline, mails.wait_for(|mails| mails.len() >= count)).await else {
            bail!("{} of {count} mails arrived", self.mails().len());
        };
        Ok(enough.context("the mail server ended")?.clone())
    }

    async fn wait_until_it_answers(&self) -> anyhow::Result<()> {
        let give_up = Instant::now() + START_DEADLINE;
        while let Err(error) = TcpStream::connect(self.address).await {
            if Instant::now() > give_up {
                return Err(error).context("the mail server does not answer");
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

async fn collect(mut arrived: Receiver<MailMessage>, keep: watch::Sender<Vec<Mail>>) {
    loop {
        match arrived.recv().await {
            Ok(message) => keep.send_modify(|mails| mails.push(mail(&message))),
            Err(RecvError::Lagged(lost)) => panic!("{lost} mails were lost"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn mail(message: &MailMessage) -> Mail {
    // The fields a test wants are private there, but written to JSON.
    let json = serde_json::to_value(message).unwrap_or_default();
    let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
    Mail {
        recipients: message.envelope_recipients.clone(),
        subject: text("subject"),
        text: text("text"),
        raw: message.raw_bytes().unwrap_or_default(),
    }
}

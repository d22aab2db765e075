//! Who delivers the mails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{BackendUrl, PortError, Source};
use lettre::Message;
use runtime::settings::Secret;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::smtp::SmtpServer;

/// A mail server, a directory, or a list in memory.
#[derive(Clone, Debug)]
pub enum Mailer {
    /// Hands mails to a server.
    Smtp(Arc<SmtpServer>),
    /// Writes each mail to `{directory}/{name}.eml`.
    File(PathBuf),
    /// Keeps mails for who asks.
    Memory(Outbox),
}

/// Mails that were delivered to nobody. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    mails: Arc<watch::Sender<Vec<String>>>,
}

/// The login at the mail server, for a URL that has none.
#[derive(Clone, Debug)]
pub struct SmtpLogin {
    /// The account.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// The URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    /// Another scheme.
    #[error("SMTP_URL: unknown scheme `{0}:`, expected `smtp:`, `smtps:` or `file:`")]
    UnknownScheme(String),
    /// The right scheme, and no more.
    #[error("SMTP_URL: the URL cannot be used")]
    Invalid(#[source] Source),
    /// The certificate it names cannot be read.
    #[error("SMTP_URL: cannot use the certificate in `{path}`")]
    Certificate {
        /// The file.
        path: String,
        /// The system's error, or the parser's.
        #[source]
        source: Source,
    },
}

/// Why a mail did not go out.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The server will never take it for this recipient: do not try again.
    #[error("the mail server refuses this mail for good")]
    Refused(#[source] Source),
    /// The server is away or busy, or does not like us: the sender, the login, how much we send. Try again later.
    #[error("the mail server did not take the mail")]
    Unavailable(#[source] Source),
    /// The connection broke, or the time or the process ended, after the whole mail was sent and before the server's
    /// word on it: try again once, with the same Message-ID, since the first copy may have arrived.
    #[error("the mail server did not say whether it took the mail")]
    Unknown(#[source] Source),
    /// Not sent: somebody else sends it now.
    #[error("the mail is in other hands")]
    NotOurs,
    /// Not sent: whether it is still ours could not be found out. Try again later.
    #[error("cannot find out whether the mail is still ours")]
    Unconfirmed(#[source] PortError),
    /// The file cannot be written: try again later.
    #[error("cannot write the mail to a file")]
    File(#[source] io::Error),
}

impl Mailer {
    /// The mailer a URL names: `smtp://HOST[:PORT]` in the clear, with `?tls=required` for STARTTLS, `smtps://HOST`
    /// with TLS from the start, or `file:DIR`. Connects to nothing yet.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn connect(url: &BackendUrl, login: Option<SmtpLogin>) -> Result<Self, MailerError> {
        match url.scheme() {
            "file" => Ok(Self::File(PathBuf::from(url.path()))),
            "smtp" | "smtps" => Ok(Self::Smtp(Arc::new(SmtpServer::new(url, login.as_ref())?))),
            scheme => Err(MailerError::UnknownScheme(scheme.to_owned())),
        }
    }

    /// Delivers `message`, if `still_ours` says so in the last moment before it may go out; `name` is unique to it.
    /// Sending it again makes a copy with the same Message-ID, or the same file. When `cancelled` while a mail server
    /// has the mail and says nothing, its fate is unknown; else dropping the future sends nothing.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(
        &self,
        name: &str,
        message: &Message,
        still_ours: impl Future<Output = Result<bool, PortError>>,
        cancelled: &CancellationToken,
    ) -> Result<(), SendError> {
        match self {
            Self::Smtp(server) => server.deliver(message, still_ours, cancelled).await,
            Self::File(directory) => {
                confirmed(still_ours).await?;
                let written = write(directory, name, message.formatted()).await;
                written.map_err(SendError::File)
            }
            Self::Memory(outbox) => {
                confirmed(still_ours).await?;
                outbox.keep(String::from_utf8_lossy(&message.formatted()).into_owned());
                Ok(())
            }
        }
    }
}

impl Outbox {
    /// The mails so far, oldest first, as they would go over the wire.
    pub fn mails(&self) -> Vec<String> {
        self.mails.borrow().clone()
    }

    /// Waits until there are at least `count` mails, and returns all.
    pub async fn wait_for(&self, count: usize) -> Vec<String> {
        let mut mails = self.mails.subscribe();
        match mails.wait_for(|mails| mails.len() >= count).await {
            Ok(mails) => mails.clone(),
            // The sender is `self`'s, so it is there.
            Err(_) => self.mails(),
        }
    }

    fn keep(&self, mail: String) {
        self.mails.send_modify(|mails| mails.push(mail));
    }
}

/// Whether the mail may go out.
pub(crate) async fn confirmed(still_ours: impl Future<Output = Result<bool, PortError>>) -> Result<(), SendError> {
    match still_ours.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(SendError::NotOurs),
        Err(error) => Err(SendError::Unconfirmed(error)),
    }
}

/// Writes the file so that it is there whole or not at all.
async fn write(directory: &Path, name: &str, mail: Vec<u8>) -> io::Result<()> {
    tokio::fs::create_dir_all(directory).await?;
    let part = directory.join(format!(".{name}.part"));
    let path = directory.join(format!("{name}.eml"));
    tokio::fs::write(&part, mail).await?;
    tokio::fs::File::open(&part).await?.sync_all().await?;
    tokio::fs::rename(part, path).await
}

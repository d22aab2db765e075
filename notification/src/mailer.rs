//! Who delivers the mails.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::BackendUrl;
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use runtime::settings::Secret;

/// How long a server may take for one reply. The one after the last byte of a mail may take ten minutes, and giving up
/// on it early sends the mail twice.
///
/// Source: RFC 5321 section 4.5.3.2.6.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// How long a connection is kept for the next mail; servers close idle ones after a minute or more.
const IDLE: Duration = Duration::from_secs(30);
/// Replies that refuse the login, not the mail: the settings are wrong, and will be mended.
///
/// Source: RFC 4954 section 6.
const LOGIN_REFUSED: [u16; 4] = [530, 534, 535, 538];

/// A mail server, or a directory.
#[derive(Clone)]
pub enum Mailer {
    /// Hands mails to a server.
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    /// Writes each mail to `{directory}/{name}.eml`.
    File(PathBuf),
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
    Invalid(#[source] lettre::transport::smtp::Error),
}

/// Why a mail did not go out.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The server will never take it: do not try again.
    #[error("the mail server refuses this mail for good")]
    Refused(#[source] lettre::transport::smtp::Error),
    /// The server is away, busy, or refuses the login: try again later. The mail may have gone out.
    #[error("the mail server did not take the mail")]
    Unavailable(#[source] lettre::transport::smtp::Error),
    /// The file cannot be written: try again later.
    #[error("cannot write the mail to a file")]
    File(#[source] io::Error),
}

impl Mailer {
    /// The mailer a URL names: `smtp://HOST[:PORT]` in the clear, with `?tls=required` for STARTTLS, `smtps://` with TLS
    /// from the start, or `file:DIR`. Connects to nothing yet.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn connect(url: &BackendUrl, login: Option<SmtpLogin>) -> Result<Self, MailerError> {
        match url.scheme() {
            "file" => Ok(Self::File(PathBuf::from(url.path()))),
            "smtp" | "smtps" => {
                let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose());
                let mut builder = builder.map_err(MailerError::Invalid)?.timeout(Some(REPLY_TIMEOUT));
                builder = builder.pool_config(PoolConfig::new().max_size(4).idle_timeout(IDLE));
                if let Some(login) = login.filter(|_| !url.expose().contains('@')) {
                    builder = builder.credentials(Credentials::new(login.user, login.password.expose().to_owned()));
                }
                Ok(Self::Smtp(Box::new(builder.build())))
            }
            scheme => Err(MailerError::UnknownScheme(scheme.to_owned())),
        }
    }

    /// Delivers `message`; `name` is unique to it. Sending it again makes a copy with the same Message-ID, or the same
    /// file.
    ///
    /// # Errors
    /// See [`SendError`]. Dropping the future in the middle may or may not have sent it.
    pub async fn send(&self, name: &str, message: Message) -> Result<(), SendError> {
        match self {
            Self::Smtp(transport) => match transport.send(message).await {
                Ok(_) => Ok(()),
                Err(error) if is_final(&error) => Err(SendError::Refused(error)),
                Err(error) => Err(SendError::Unavailable(error)),
            },
            Self::File(directory) => write(directory, name, message.formatted())
                .await
                .map_err(SendError::File),
        }
    }
}

fn is_final(error: &lettre::transport::smtp::Error) -> bool {
    let refuses_login = error
        .status()
        .is_some_and(|code| LOGIN_REFUSED.contains(&u16::from(code)));
    error.is_permanent() && !refuses_login
}

/// Writes the file so that it is there whole or not at all.
async fn write(directory: &Path, name: &str, mail: Vec<u8>) -> io::Result<()> {
    tokio::fs::create_dir_all(directory).await?;
    let (part, path) = (
        directory.join(format!(".{name}.part")),
        directory.join(format!("{name}.eml")),
    );
    tokio::fs::write(&part, mail).await?;
    tokio::fs::File::open(&part).await?.sync_all().await?;
    tokio::fs::rename(part, path).await
}

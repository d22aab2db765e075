//! The dialogue with a mail server, step by step, so that a failure is known by where it happened.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use domain::{BackendUrl, Source};
use lettre::Message;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use tokio::time::timeout;
use url::{Host, Url};

use crate::{MailerError, SendError, SmtpLogin};

/// How long connecting may take, with TLS, greetings and login.
const OPENING: Duration = Duration::from_secs(60);
/// How long the reply to a command may take.
///
/// Source: RFC 5321 section 4.5.3.2.2 to 4.5.3.2.4: five minutes for MAIL and RCPT, two for DATA.
const REPLY: Duration = Duration::from_secs(5 * 60);
/// How long the reply to the whole mail may take. Giving up on it early sends the mail twice.
///
/// Source: RFC 5321 section 4.5.3.2.6.
const FINAL_REPLY: Duration = Duration::from_secs(10 * 60);
/// How long taking leave may take; the mail is gone by then.
const LEAVE: Duration = Duration::from_secs(5);
/// Replies that refuse the login, not the mail: the settings are wrong, and will be mended.
///
/// Source: RFC 4954 section 6.
const LOGIN_REFUSED: [u16; 4] = [530, 534, 535, 538];

/// A mail server and how to talk to it. Each mail has a connection of its own: servers close idle ones as they like.
pub struct SmtpServer {
    host: String,
    port: u16,
    security: Security,
    login: Option<Credentials>,
    hello: ClientId,
}

enum Security {
    /// In the clear.
    None,
    /// STARTTLS where the server offers it, else in the clear.
    Opportunistic(TlsParameters),
    /// STARTTLS, or nothing.
    Required(TlsParameters),
    /// TLS from the first byte.
    Implicit(TlsParameters),
}

impl SmtpServer {
    /// The server of an `smtp:` or `smtps:` URL; `login` is for a URL that has none. Connects to nothing yet.
    ///
    /// The query may hold `tls=required` or `tls=opportunistic` (STARTTLS, `smtp:` only) and `ca=FILE`, a certificate in
    /// PEM to trust beside the system's. The port defaults to 465 for `smtps:`, 587 for STARTTLS and 25 in the clear.
    ///
    /// # Errors
    /// The URL or the certificate cannot be used.
    pub(crate) fn new(url: &BackendUrl, login: Option<&SmtpLogin>) -> Result<Self, MailerError> {
        let parsed = Url::parse(url.expose()).map_err(|error| MailerError::Invalid(error.into()))?;
        let host = match parsed.host() {
            None => return Err(MailerError::Invalid("it names no host".into())),
            // Without the brackets a URL writes around it.
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
        };
        let query = |name: &str| {
            let mut pairs = parsed.query_pairs();
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let tls = || tls_parameters(&host, query("ca").as_deref());
        let (security, default_port) = match (url.scheme(), query("tls").as_deref()) {
            ("smtps", None) => (Security::Implicit(tls()?), 465),
            ("smtp", None) => (Security::None, 25),
            ("smtp", Some("required")) => (Security::Required(tls()?), 587),
            ("smtp", Some("opportunistic")) => (Security::Opportunistic(tls()?), 587),
            (scheme, tls) => {
                let text = format!("`{scheme}:` does not go with `tls={}`", tls.unwrap_or_default());
                return Err(MailerError::Invalid(text.into()));
            }
        };
        let login = match url_login(&parsed)? {
            Some(login) => Some(login),
            None => login.map(|login| Credentials::new(login.user.clone(), login.password.expose().to_owned())),
        };
        if login.is_some() && matches!(security, Security::None) && !is_this_machine(&parsed) {
            tracing::warn!(server = %url, "the mail server's login goes over the network in the clear: use `smtps:` or `?tls=required`");
        }
        Ok(Self {
            port: parsed.port().unwrap_or(default_port),
            host,
            security,
            login,
            hello: ClientId::default(),
        })
    }

    /// Hands one mail to the server.
    ///
    /// # Errors
    /// See [`SendError`]. Dropping the future in the middle may or may not have sent it.
    pub(crate) async fn deliver(&self, message: &Message) -> Result<(), SendError> {
        let mut connection = within(OPENING, self.open()).await.map_err(SendError::Unavailable)?;
        let bytes = message.formatted();
        let envelope = message.envelope();
        let options = sending_options(&connection, message, &bytes)?;

        // A sender the server does not like is a matter of our settings.
        let from = Mail::new(envelope.from().cloned(), options);
        within(REPLY, connection.command(from))
            .await
            .map_err(SendError::Unavailable)?;
        for to in envelope.to() {
            within(REPLY, connection.command(Rcpt::new(to.clone(), Vec::new())))
                .await
                .map_err(|error| judged(error, SendError::Unavailable))?;
        }
        within(REPLY, connection.command(Data))
            .await
            .map_err(|error| judged(error, SendError::Unavailable))?;
        within(FINAL_REPLY, connection.message(&bytes))
            .await
            .map_err(|error| judged(error, SendError::Unknown))?;
        if timeout(LEAVE, connection.quit()).await.is_err() {
            tracing::debug!("the mail server does not take leave");
        }
        Ok(())
    }

    /// Connects, encrypts and logs in.
    async fn open(&self) -> Result<AsyncSmtpConnection, SmtpError> {
        let from_the_start = match &self.security {
            Security::Implicit(tls) => Some(tls.clone()),
            _ => None,
        };
        let server = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(OPENING), &self.hello, from_the_start, None).await?;
        match &self.security {
            Security::Required(tls) => connection.starttls(tls.clone(), &self.hello).await?,
            Security::Opportunistic(tls) if connection.can_starttls() => {
                connection.starttls(tls.clone(), &self.hello).await?;
            }
            _ => {}
        }
        if let Some(login) = &self.login {
            connection.auth(&[Mechanism::Plain, Mechanism::Login], login).await?;
        }
        Ok(connection)
    }
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpServer({}:{})", self.host, self.port)
    }
}

/// Why a step failed: the server said no, the connection broke, or time ran out.
fn judged(error: Source, otherwise: fn(Source) -> SendError) -> SendError {
    let code = error
        .downcast_ref::<SmtpError>()
        .and_then(|error| Some((error.is_permanent(), u16::from(error.status()?))));
    match code {
        Some((true, code)) if !LOGIN_REFUSED.contains(&code) => SendError::Refused(error),
        // Whatever the server says, it says that it did not take the mail.
        Some(_) => SendError::Unavailable(error),
        None => otherwise(error),
    }
}

async fn within<T>(limit: Duration, step: impl Future<Output = Result<T, SmtpError>>) -> Result<T, Source> {
    match timeout(limit, step).await {
        Ok(done) => done.map_err(Source::from),
        Err(_) => Err(format!("no answer within {} seconds", limit.as_secs()).into()),
    }
}

/// What MAIL must announce about this mail.
fn sending_options(
    connection: &AsyncSmtpConnection,
    message: &Message,
    bytes: &[u8],
) -> Result<Vec<MailParameter>, SendError> {
    let mut options = Vec::new();
    let envelope = message.envelope();
    let mut addresses = envelope.from().into_iter().chain(envelope.to());
    if addresses.any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(SendError::Refused(
                "the mail server cannot write to an address beyond ASCII".into(),
            ));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !bytes.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(options)
}

fn tls_parameters(host: &str, certificate: Option<&str>) -> Result<TlsParameters, MailerError> {
    let mut tls = TlsParameters::builder(host.to_owned());
    if let Some(path) = certificate {
        let pem = std::fs::read(path).map_err(|error| MailerError::Certificate {
            path: path.to_owned(),
            source: error.into(),
        })?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| MailerError::Certificate {
            path: path.to_owned(),
            source: error.into(),
        })?;
        tls = tls.add_root_certificate(certificate);
    }
    tls.build().map_err(|error| MailerError::Invalid(error.into()))
}

/// The login written into the URL.
fn url_login(url: &Url) -> Result<Option<Credentials>, MailerError> {
    if url.username().is_empty() {
        return Ok(None);
    }
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| MailerError::Invalid("its login is not UTF-8".into()))
    };
    let password = decoded(url.password().unwrap_or_default())?;
    Ok(Some(Credentials::new(decoded(url.username())?, password)))
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<SmtpServer, MailerError> {
        let login = SmtpLogin {
            user: "robot@gmail.com".to_owned(),
            password: "app password".parse().unwrap(),
        };
        SmtpServer::new(&url.parse().unwrap(), Some(&login))
    }

    #[test]
    fn scheme_and_query_choose_port_and_security() {
        let of = |url: &str| {
            let server = server(url).unwrap();
            let security = match server.security {
                Security::None => "none",
                Security::Opportunistic(_) => "opportunistic",
                Security::Required(_) => "required",
                Security::Implicit(_) => "implicit",
            };
            (server.host, server.port, security)
        };
        assert_eq!(of("smtp://mail"), ("mail".to_owned(), 25, "none"));
        assert_eq!(of("smtp://mail?tls=required"), ("mail".to_owned(), 587, "required"));
        assert_eq!(
            of("smtp://mail:2525?tls=opportunistic"),
            ("mail".to_owned(), 2525, "opportunistic")
        );
        assert_eq!(of("smtps://u:p@mail/"), ("mail".to_owned(), 465, "implicit"));
        assert_eq!(of("smtp://[::1]:25"), ("::1".to_owned(), 25, "none"));
    }

    #[test]
    fn the_urls_login_goes_before_the_other() {
        let of_url = server("smtp://ada%40example.com:p%3Aw@localhost").unwrap().login;
        assert_eq!(of_url, Some(Credentials::new("ada@example.com".into(), "p:w".into())));
        let other = server("smtp://localhost").unwrap().login;
        assert_eq!(
            other,
            Some(Credentials::new("robot@gmail.com".into(), "app password".into()))
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for url in [
            "smtp:",
            "smtp:///",
            "smtp://mail?tls=perhaps",
            "smtps://mail?tls=required",
            "smtps://mail?ca=/nowhere",
        ] {
            assert!(server(url).is_err(), "{url}");
        }
    }
}

//! The dialogue with a mail server, step by step, so that a failure is known by where it happened.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use domain::{BackendUrl, PortError, Source};
use lettre::Message;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use crate::mailer::confirmed;
use crate::{MailerError, SendError, SmtpLogin};

/// How long connecting may take, with TLS, greetings and login.
///
/// Source: RFC 5321 section 4.5.3.2.1: five minutes for the greeting.
const OPENING: Duration = Duration::from_secs(5 * 60);
/// How long the reply to a command may take.
///
/// Source: RFC 5321 section 4.5.3.2.2 to 4.5.3.2.4: five minutes for MAIL and RCPT, two, which is less, for DATA.
const REPLY: Duration = Duration::from_secs(5 * 60);
/// How long the reply to the whole mail may take. Giving up on it early sends the mail twice.
///
/// Source: RFC 5321 section 4.5.3.2.6.
const FINAL_REPLY: Duration = Duration::from_secs(10 * 60);
/// How long taking leave may take; the mail is gone by then.
const LEAVE: Duration = Duration::from_secs(5);
/// Words by which servers without status codes say that they mean us, not the recipient.
const OUR_TROUBLE: [&str; 6] = ["relay", "sender", "authenti", "quota", "limit", "blocked"];

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
    /// The query may hold `tls=required` or `tls=opportunistic` (STARTTLS, `smtp:` only) and `ca=FILE`, a certificate
    /// in PEM to trust beside the system's. The port defaults to 465 for `smtps:`, 587 for STARTTLS and 25 in the
    /// clear.
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

    /// Hands one mail to the server, if `still_ours` says so in the last moment before it may go out. `cancelled` ends
    /// the wait for its last word.
    ///
    /// # Errors
    /// See [`SendError`].
    pub(crate) async fn deliver(
        &self,
        message: &Message,
        still_ours: impl Future<Output = Result<bool, PortError>>,
        cancelled: &CancellationToken,
    ) -> Result<(), SendError> {
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
                .map_err(|error| judged(error, About::Recipient))?;
        }
        let outcome = match confirmed(still_ours).await {
            Ok(()) => hand_over(&mut connection, &bytes, cancelled).await,
            Err(withheld) => Err(withheld),
        };
        if !matches!(outcome, Err(SendError::Unknown(_))) && timeout(LEAVE, connection.quit()).await.is_err() {
            tracing::debug!("the mail server does not take leave");
        }
        outcome
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

/// Sends the mail itself.
async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    bytes: &[u8],
    cancelled: &CancellationToken,
) -> Result<(), SendError> {
    within(REPLY, connection.command(Data))
        .await
        .map_err(|error| judged(error, About::Server))?;
    let word = within(FINAL_REPLY, connection.message(bytes));
    let word = cancelled.run_until_cancelled(word).await;
    match word.unwrap_or_else(|| Err("nobody waits for the answer any more".into())) {
        Ok(_) => Ok(()),
        // Without a reply nobody knows whether the server took it.
        Err(error) if reply(&error).is_none() => Err(SendError::Unknown(error)),
        Err(error) => Err(judged(error, About::Mail)),
    }
}

/// What a reply without a status code of its own is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Recipient,
    Mail,
    Server,
}

/// Why a step failed: the server said no, the connection broke, or time ran out. Only what can never be otherwise for
/// this recipient is a refusal: taking our own trouble for one would silence every mail, taking a refusal for trouble
/// costs some tries.
fn judged(error: Source, about: About) -> SendError {
    match reply(&error) {
        Some((code, text)) if is_refusal(code, &text, about) => SendError::Refused(error),
        _ => SendError::Unavailable(error),
    }
}

/// The server's negative reply, if there was one.
fn reply(error: &Source) -> Option<(u16, String)> {
    let error = error.downcast_ref::<SmtpError>()?;
    let code = u16::from(error.status()?);
    let text = std::error::Error::source(error).map(ToString::to_string);
    Some((code, text.unwrap_or_default()))
}

/// Source: RFC 3463 for the status in the text, RFC 5321 section 4.2.3 for the code.
fn is_refusal(code: u16, text: &str, about: About) -> bool {
    if code < 500 {
        return false;
    }
    let words = text.to_ascii_lowercase();
    let is_ours = OUR_TROUBLE.iter().any(|word| words.contains(word));
    match status(text) {
        // The address, but not the sender's; the mailbox, with the details that are registered, since servers put
        // troubles of the sender under others; what is in the mail.
        Some([5, 1, detail]) => !matches!(detail, 7 | 8) && !is_ours,
        Some([5, 2, detail]) => detail <= 4 && !is_ours,
        Some([5, 6, _]) => !is_ours,
        // The server as a whole, its routes, the dialogue, its policy and our login.
        Some(_) => false,
        None => {
            let codes: &[u16] = match about {
                About::Recipient => &[550, 551, 553, 556],
                About::Mail => &[550, 551, 553, 554, 556],
                About::Server => &[],
            };
            codes.contains(&code) && !is_ours
        }
    }
}

/// The status of RFC 3463 a reply begins with, such as 5.1.1.
fn status(text: &str) -> Option<[u16; 3]> {
    let word = text.split_whitespace().next()?;
    let mut numbers = word.splitn(3, '.').map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
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
    let beyond_ascii = |address: &lettre::Address| !AsRef::<str>::as_ref(address).is_ascii();
    let (from, to) = (
        envelope.from().is_some_and(beyond_ascii),
        envelope.to().iter().any(beyond_ascii),
    );
    if from || to {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            let text = "the mail server does not know addresses beyond ASCII";
            return Err(if from {
                SendError::Unavailable(text.into())
            } else {
                SendError::Refused(text.into())
            });
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
    fn only_what_is_said_about_the_recipient_is_a_refusal() {
        use About::{Mail, Recipient, Server};
        for (code, text, about, refusal) in [
            (550, "no such user", Recipient, true),
            (553, "mailbox name not allowed", Recipient, true),
            (550, "5.1.1 no such user", Recipient, true),
            (550, "5.2.1 mailbox disabled", Recipient, true),
            (552, "5.2.2 mailbox full", Mail, true),
            (554, "5.6.0 cannot convert", Mail, true),
            (554, "looks like spam", Mail, true),
            (450, "4.1.1 not now", Recipient, false),
            // The sender.
            (550, "5.1.8 bad sender's system address", Recipient, false),
            (553, "5.1.7 bad sender address", Mail, false),
            (554, "5.2.252 SendAsDenied; not allowed to send as this", Mail, false),
            (550, "5.1.0 sender rejected", Mail, false),
            (550, "Sender verify failed", Recipient, false),
            // The quota.
            (550, "5.4.5 daily user sending limit exceeded", Mail, false),
            (552, "storage allocation exceeded", Recipient, false),
            (550, "sending quota exceeded", Recipient, false),
            // The login and the policy.
            (530, "5.7.0 authentication required", Recipient, false),
            (550, "authentication required", Recipient, false),
            (550, "5.7.26 unauthenticated sender", Mail, false),
            (550, "relay not permitted", Recipient, false),
            (554, "5.7.1 relay access denied", Recipient, false),
            // The whole server.
            (521, "no mail here", Recipient, false),
            (554, "5.3.2 system not accepting messages", Recipient, false),
            (554, "transaction failed", Recipient, false),
            (554, "transaction failed", Server, false),
            (503, "5.5.1 bad sequence", Server, false),
            (550, "5.x odd", Server, false),
        ] {
            assert_eq!(is_refusal(code, text, about), refusal, "{code} {text}");
        }
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

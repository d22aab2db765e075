//! The notification's settings. The original system's names keep working.

use clap::{Args, Parser};
use domain::BackendUrl;
use lettre::message::Mailbox;
use runtime::settings::{Backends, Operations, Secret};
use url::Url;

use crate::{Letterhead, Mailer, MailerError, SmtpLogin};

/// What `GMAIL_ADDRESS` and `GMAIL_PASSWORD` alone mean.
const GMAIL_URL: &str = "smtp://smtp.gmail.com:587?tls=required";

/// The notification of the mp3converter suite: tells owners by mail what became of their uploads.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Settings {
    /// Where everything is.
    #[command(flatten)]
    pub backends: Backends,
    /// The queue that carries finished MP3s.
    #[arg(long, env, value_name = "NAME", default_value = domain::MP3_QUEUE)]
    pub mp3_queue: String,
    /// Where owners reach the gateway, for the lines in mails.
    #[arg(long, env, value_name = "URL", default_value = "http://mp3converter.com")]
    pub public_url: Url,
    /// How an operator sees into it.
    #[command(flatten)]
    pub operations: Operations,
    /// Who delivers.
    #[command(flatten)]
    pub mail: MailSettings,
}

/// Who delivers the mails, wherever the service runs.
#[derive(Clone, Debug, Args)]
pub struct MailSettings {
    /// The mail server: `smtp://HOST[:PORT]`, with `?tls=required` for STARTTLS, `smtps://HOST`, or `file:DIR`. Without
    /// it `GMAIL_ADDRESS` and `GMAIL_PASSWORD` mean smtp.gmail.com.
    #[arg(long, env, value_name = "URL", hide_env_values = true)]
    pub smtp_url: Option<BackendUrl>,
    /// Who mails come from; `GMAIL_ADDRESS` by default.
    #[arg(long, env, value_name = "ADDRESS")]
    pub mail_from: Option<String>,
    /// The login at the mail server where SMTP_URL has none.
    #[arg(long, env, value_name = "ADDRESS")]
    pub gmail_address: Option<String>,
    /// Its password, for Gmail an app password.
    #[arg(long, env, value_name = "PASSWORD", hide_env_values = true, hide = true)]
    pub gmail_password: Option<Secret>,
}

impl MailSettings {
    /// Who delivers.
    ///
    /// # Errors
    /// One sentence on what is missing or wrong.
    pub fn mailer(&self) -> Result<Mailer, String> {
        let login = self.login();
        let url = match &self.smtp_url {
            Some(url) => url.clone(),
            None if login.is_some() => GMAIL_URL.parse().map_err(|_| "the default mail server is no URL")?,
            None => return Err("no mail server: set SMTP_URL, or GMAIL_ADDRESS and GMAIL_PASSWORD".to_owned()),
        };
        Mailer::connect(&url, login).map_err(|error: MailerError| runtime::settings::chain(&error))
    }

    /// What every mail begins with.
    ///
    /// # Errors
    /// One sentence when there is no sender, or none that is an address.
    pub fn letterhead(&self, public_url: &Url) -> Result<Letterhead, String> {
        let given = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        let from = given(&self.mail_from)
            .or_else(|| given(&self.gmail_address))
            .ok_or("no sender: set MAIL_FROM, or GMAIL_ADDRESS")?;
        let from: Mailbox = from
            .parse()
            .map_err(|_| format!("MAIL_FROM is `{from}`, which is no e-mail address"))?;
        Ok(Letterhead {
            from,
            public_url: public_url.clone(),
        })
    }

    fn login(&self) -> Option<SmtpLogin> {
        let user = self.gmail_address.clone().filter(|user| !user.is_empty())?;
        let password = self
            .gmail_password
            .clone()
            .filter(|password| !password.expose().is_empty())?;
        Some(SmtpLogin { user, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(smtp_url: Option<&str>, gmail: Option<(&str, &str)>) -> MailSettings {
        MailSettings {
            smtp_url: smtp_url.map(|url| url.parse().unwrap()),
            mail_from: None,
            gmail_address: gmail.map(|(address, _)| address.to_owned()),
            gmail_password: gmail.map(|(_, password)| password.parse().unwrap()),
        }
    }

    #[test]
    fn the_originals_two_variables_are_enough() {
        let settings = settings(None, Some(("robot@gmail.com", "secret")));
        assert!(matches!(settings.mailer(), Ok(Mailer::Smtp(_))));
        let letterhead = settings
            .letterhead(&"http://mp3converter.com".parse().unwrap())
            .unwrap();
        assert_eq!(letterhead.from.to_string(), "robot@gmail.com");
    }

    #[test]
    fn what_is_missing_is_named() {
        let nothing = settings(None, None);
        assert!(nothing.mailer().err().unwrap().contains("SMTP_URL"));
        let no_sender = settings(Some("smtp://localhost"), None);
        assert!(
            no_sender
                .letterhead(&"http://x".parse().unwrap())
                .unwrap_err()
                .contains("MAIL_FROM")
        );
        let other = settings(Some("imap://localhost"), None);
        assert!(other.mailer().err().unwrap().contains("imap"));
    }
}

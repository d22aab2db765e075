//! The auth service's settings. The original system's names keep working.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};
use domain::{Address, BackendUrl};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use runtime::settings::Secret;
use runtime::telemetry::{LogFormat, TraceSettings};

use crate::accounts;
use crate::password::PlaintextPasswords;
use crate::users_command::UserCommand;

const MYSQL_PORT: u16 = 3306;

/// The auth service of the mp3converter suite: passwords to tokens, tokens to claims.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Settings {
    /// What to do; without one, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where the accounts are.
    #[command(flatten)]
    pub users: UsersSettings,
    /// How it serves.
    #[command(flatten)]
    pub service: ServiceSettings,
    /// How log lines look.
    #[arg(long, env, value_enum, default_value = "json", global = true)]
    pub log_format: LogFormat,
}

/// What the binary does.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Answers `POST /login` and `POST /validate`.
    Serve,
    /// Keeps the accounts.
    User {
        /// What to do with them.
        #[command(subcommand)]
        command: UserCommand,
    },
}

/// Where the accounts are: one URL, or the original's variables.
#[derive(Clone, Debug, Args)]
pub struct UsersSettings {
    /// The account database, `mysql://USER:PASSWORD@HOST:PORT/DATABASE`; instead of the five MYSQL_* settings.
    #[arg(long, env, value_name = "URL", hide_env_values = true, global = true)]
    pub users_url: Option<BackendUrl>,
    /// The host of MySQL.
    #[arg(
        long,
        env = "MYSQL_HOST",
        value_name = "HOST",
        default_value = "mysql",
        global = true
    )]
    pub mysql_host: String,
    /// The account at MySQL.
    #[arg(long, env = "MYSQL_USER", value_name = "NAME", global = true)]
    pub mysql_user: Option<String>,
    /// Its password.
    #[arg(
        long,
        env = "MYSQL_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true,
        hide = true,
        global = true
    )]
    pub mysql_password: Option<Secret>,
    /// The database.
    #[arg(long, env = "MYSQL_DB", value_name = "NAME", default_value = "auth", global = true)]
    pub mysql_db: String,
    /// The port of MySQL, 3306 by default.
    // Text, and read only when it is needed: Kubernetes sets it to something else for a Service called `mysql`.
    #[arg(long, env = "MYSQL_PORT", value_name = "PORT", global = true)]
    pub mysql_port: Option<String>,
}

/// How the service serves.
#[derive(Clone, Debug, Args)]
pub struct ServiceSettings {
    /// Where `/login` and `/validate` are answered.
    #[arg(long, env = "MP3_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:5000")]
    pub listen: SocketAddr,
    /// The operations port: `/healthz`, `/readyz`, `/metrics`.
    #[arg(long, env = "MP3_OPS_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    pub ops_listen: SocketAddr,
    /// Where traces go.
    #[command(flatten)]
    pub traces: TraceSettings,
    /// Accounts and tokens.
    #[command(flatten)]
    pub accounts: AccountSettings,
}

/// How accounts and tokens are treated, wherever the service runs.
#[derive(Clone, Debug, Args)]
pub struct AccountSettings {
    /// What signs the tokens: at least 32 bytes, the same for every replica. Required to serve.
    #[arg(long, env, value_name = "SECRET", hide_env_values = true, hide = true)]
    pub jwt_secret: Option<Secret>,
    /// Whether passwords that the original system stored as they are may log in, to be hashed when they do.
    #[arg(long, env, value_enum, default_value = "accept")]
    pub plaintext_passwords: PlaintextPasswords,
    /// The account to make at the start when it is missing.
    #[command(flatten)]
    pub admin: AdminSettings,
}

/// The account that is made at the start when it is missing, and never changed.
#[derive(Clone, Debug, Args)]
pub struct AdminSettings {
    /// The address of an account to make when it is missing.
    #[arg(long = "admin-email", env = "MP3_ADMIN_EMAIL", value_name = "ADDRESS")]
    pub admin_email: Option<String>,
    /// Its first password; an account that exists keeps its own.
    #[arg(
        long = "admin-password",
        env = "MP3_ADMIN_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true,
        hide = true
    )]
    pub admin_password: Option<Secret>,
}

impl UsersSettings {
    /// `USERS_URL`, or the URL that the MYSQL_* settings mean.
    ///
    /// # Errors
    /// One sentence on what is missing or wrong.
    pub fn url(&self) -> Result<BackendUrl, String> {
        if let Some(url) = &self.users_url {
            return Ok(url.clone());
        }
        let user = self
            .mysql_user
            .as_deref()
            .filter(|user| !user.is_empty())
            .ok_or("the account database is not set: set USERS_URL, or MYSQL_USER (and MYSQL_HOST, MYSQL_PASSWORD, MYSQL_DB, MYSQL_PORT)")?;
        let host = self.mysql_host.as_str();
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let password = self.mysql_password.as_ref().map_or("", Secret::expose);
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let url = format!(
            "mysql://{}:{}@{host}:{}/{}",
            encoded(user),
            encoded(password),
            self.port()?,
            encoded(&self.mysql_db)
        );
        let parsed = url::Url::parse(&url).map_err(|error| format!("MYSQL_HOST is no host name: {error}"))?;
        // A host such as `mysql/x` or `a@b` would have moved the border between the parts.
        if parsed.host_str().is_none_or(str::is_empty) || parsed.path().matches('/').count() != 1 || host.contains('@')
        {
            return Err("MYSQL_HOST is no host name".to_owned());
        }
        url.parse().map_err(|_| "MYSQL_HOST is no host name".to_owned())
    }

    fn port(&self) -> Result<u16, String> {
        let text = match self.mysql_port.as_deref() {
            None | Some("") => return Ok(MYSQL_PORT),
            Some(text) => text,
        };
        // Kubernetes sets it to `tcp://ADDRESS:PORT` by itself where a Service is called `mysql`.
        let number = text
            .strip_prefix("tcp://")
            .and_then(|rest| rest.rsplit_once(':'))
            .map_or(text, |(_, port)| port);
        match number.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!("MYSQL_PORT is `{text}` and must be a number from 1 to 65535")),
        }
    }
}

impl AdminSettings {
    /// Address and first password, when they are set.
    ///
    /// # Errors
    /// One sentence when only one of them is set, or the address is none.
    pub fn account(&self) -> Result<Option<(Address, Secret)>, String> {
        let email = self.admin_email.as_deref().filter(|email| !email.is_empty());
        let password = self
            .admin_password
            .as_ref()
            .filter(|password| !password.expose().is_empty());
        match (email, password) {
            (None, None) => Ok(None),
            (Some(_), None) => Err("MP3_ADMIN_EMAIL is set and MP3_ADMIN_PASSWORD is not; set both or none".to_owned()),
            (None, Some(_)) => Err("MP3_ADMIN_PASSWORD is set and MP3_ADMIN_EMAIL is not; set both or none".to_owned()),
            (Some(email), Some(password)) => {
                let email: Address = email.parse().map_err(|error| format!("MP3_ADMIN_EMAIL is {error}"))?;
                accounts::check(&email, password.expose()).map_err(|error| format!("MP3_ADMIN_*: {error}"))?;
                Ok(Some((email, password.clone())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parsed(arguments: &[&str]) -> Settings {
        Settings::try_parse_from(["auth"].iter().chain(arguments)).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Settings::command().debug_assert();
    }

    #[test]
    fn the_original_variables_make_a_url() {
        let settings = parsed(&[
            "--mysql-host=db",
            "--mysql-user=auth_user",
            "--mysql-password=Aauth:1@/%41 ü",
            "--mysql-port=3307",
        ]);
        let url = settings.users.url().unwrap();
        assert_eq!(
            url.expose(),
            "mysql://auth%5Fuser:Aauth%3A1%40%2F%2541%20%C3%BC@db:3307/auth"
        );
        assert_eq!(url.to_string(), "mysql://db:3307/auth");
    }

    #[test]
    fn an_ip_version_6_host_is_put_in_brackets() {
        let settings = parsed(&["--mysql-host=fd00::1", "--mysql-user=u"]);
        assert_eq!(settings.users.url().unwrap().expose(), "mysql://u:@[fd00::1]:3306/auth");
    }

    #[test]
    fn users_url_wins_over_the_original_variables() {
        let settings = parsed(&[
            "--users-url=mysql://x@y/z",
            "--mysql-user=u",
            "--mysql-port=tcp://10.0.0.1:3306",
        ]);
        assert_eq!(settings.users.url().unwrap().expose(), "mysql://x@y/z");
    }

    #[test]
    fn what_kubernetes_puts_into_mysql_port_is_understood() {
        let settings = parsed(&["--mysql-user=u", "--mysql-port=tcp://10.0.0.1:3307"]);
        assert!(settings.users.url().unwrap().expose().contains("@mysql:3307/"));
        for port in ["0", "65536", "x", "-1", "tcp://10.0.0.1", "udp://10.0.0.1:3306"] {
            let settings = parsed(&["--mysql-user=u", &format!("--mysql-port={port}")]);
            assert!(settings.users.url().unwrap_err().contains("MYSQL_PORT"), "{port}");
        }
    }

    #[test]
    fn a_missing_database_and_a_broken_host_are_named() {
        assert!(parsed(&[]).users.url().unwrap_err().contains("USERS_URL"));
        for host in ["a b", "a/b", "a@b", "a?b", "", "a#b"] {
            let settings = parsed(&["--mysql-user=u", &format!("--mysql-host={host}")]);
            assert!(settings.users.url().unwrap_err().contains("MYSQL_HOST"), "{host:?}");
        }
    }

    #[test]
    fn half_an_admin_is_refused() {
        let half = parsed(&["--admin-email=a@b.c"]);
        assert!(half.service.accounts.admin.account().is_err());
        let whole = parsed(&["--admin-email=a@b.c", "--admin-password=x"]);
        assert!(whole.service.accounts.admin.account().unwrap().is_some());
        let none = parsed(&["--admin-email=", "--admin-password="]);
        assert!(none.service.accounts.admin.account().unwrap().is_none());
    }
}

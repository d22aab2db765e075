//! The settings of the single process: everything embedded below one directory, unless a URL says otherwise.

use std::net::SocketAddr;
use std::path::PathBuf;

use auth::AccountSettings;
use clap::Args;
use converter::ConversionSettings;
use domain::BackendUrl;
use gateway::GatewaySettings;
use notification::MailSettings;
use runtime::telemetry::{LogFormat, TraceSettings};
use url::Url;

use crate::data_dir::DataDir;

/// Where everything is kept.
#[derive(Clone, Debug, Args)]
pub struct StoreSettings {
    /// The directory that holds everything embedded.
    #[arg(long, env = "MP3_DATA_DIR", value_name = "DIR", default_value = "data")]
    pub data_dir: PathBuf,
    /// The accounts: `sqlite:FILE` or `mysql://...`; by default `users.db` in the data directory.
    #[arg(long, env, value_name = "URL", hide_env_values = true)]
    pub users_url: Option<BackendUrl>,
    /// The job records: `sqlite:FILE` or `mongodb://...`; by default `jobs.db` in the data directory.
    #[arg(long, env, value_name = "URL", hide_env_values = true)]
    pub jobs_url: Option<BackendUrl>,
    /// The videos and MP3s: `file:DIR` or `mongodb://...`; by default `blobs` in the data directory.
    #[arg(long, env, value_name = "URL", hide_env_values = true)]
    pub blobs_url: Option<BackendUrl>,
    /// The broker: `memory:` (the default) or `amqp://...`.
    #[arg(long, env, value_name = "URL", default_value = "memory:", hide_env_values = true)]
    pub queue_url: BackendUrl,
}

/// The settings of `mp3converter serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeSettings {
    /// Where clients connect.
    #[arg(long, env = "MP3_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The operations port: `/healthz`, `/readyz`, `/metrics`; by default 127.0.0.1:9090 where that is free.
    #[arg(long, env = "MP3_OPS_LISTEN", value_name = "ADDRESS")]
    pub ops_listen: Option<SocketAddr>,
    /// Where everything is kept.
    #[command(flatten)]
    pub stores: StoreSettings,
    /// Accounts and tokens; without `JWT_SECRET` one is made and kept in the data directory.
    #[command(flatten)]
    pub accounts: AccountSettings,
    /// The HTTP side.
    #[command(flatten)]
    pub gateway: GatewaySettings,
    /// The conversions.
    #[command(flatten)]
    pub conversion: ConversionSettings,
    /// Where owners reach this service, for the lines in mails; by default the address it listens on.
    #[arg(long, env, value_name = "URL")]
    pub public_url: Option<Url>,
    /// Who delivers the mails; without `SMTP_URL` or a login they are files in `mail` in the data directory.
    #[command(flatten)]
    pub mail: MailSettings,
    /// How log lines look.
    #[arg(long, env, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Where traces go.
    #[command(flatten)]
    pub traces: TraceSettings,
}

impl StoreSettings {
    /// The accounts' URL.
    pub fn users(&self, data: &DataDir) -> BackendUrl {
        embedded(&self.users_url, "sqlite", data, "users.db")
    }

    /// The job records' URL.
    pub fn jobs(&self, data: &DataDir) -> BackendUrl {
        embedded(&self.jobs_url, "sqlite", data, "jobs.db")
    }

    /// The files' URL.
    pub fn blobs(&self, data: &DataDir) -> BackendUrl {
        embedded(&self.blobs_url, "file", data, "blobs")
    }
}

impl ServeSettings {
    /// Who delivers the mails and who they come from, with what is not set filled in.
    pub fn mail(&self, data: &DataDir) -> MailSettings {
        let mut mail = self.mail.clone();
        if mail.smtp_url.is_none() && mail.gmail_password.is_none() {
            mail.smtp_url = Some(BackendUrl::from_path("file", &data.path().join("mail")));
        }
        if mail.mail_from.is_none() && mail.gmail_address.is_none() {
            mail.mail_from = Some("mp3converter@localhost".to_owned());
        }
        mail
    }
}

fn embedded(given: &Option<BackendUrl>, scheme: &str, data: &DataDir, name: &str) -> BackendUrl {
    given
        .clone()
        .unwrap_or_else(|| BackendUrl::from_path(scheme, &data.path().join(name)))
}

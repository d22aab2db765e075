//! The gateway's settings.

use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroU32};

use clap::{Args, Parser, Subcommand, ValueEnum};
use runtime::settings::{Backends, BlobsUrl, JobsUrl, Operations};

use crate::{JobsCommand, TrustedProxies};

/// The gateway of the mp3converter suite: login, upload, jobs and download over HTTP.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Settings {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The gateway's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM (the default).
    Serve(Box<ServeSettings>),
    /// Look at the jobs, and replay them.
    Jobs {
        /// Where the job records are.
        #[command(flatten)]
        store: JobsUrl,
        /// What to do with them.
        #[command(subcommand)]
        command: JobsCommand,
    },
    /// Look for files that nobody needs and delete them, once, now.
    Janitor {
        /// Where the job records are.
        #[command(flatten)]
        store: JobsUrl,
        /// Where the files are.
        #[command(flatten)]
        files: BlobsUrl,
        /// Delete those, too, that no job record knows, however many they are.
        #[arg(long)]
        confirm: bool,
    },
}

/// The settings of `gateway serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeSettings {
    /// Where clients connect.
    #[arg(long, env = "MP3_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// The auth service, as `host:port`.
    #[arg(long, env, value_name = "HOST:PORT", default_value = "auth:5000")]
    pub auth_svc_address: String,
    /// How many seconds requests at hand have after SIGTERM; an upload that outlasts them is answered 503 and leaves
    /// nothing behind.
    #[arg(long, env, value_name = "SECONDS", default_value_t = 30)]
    pub shutdown_grace: u32,
    /// Where everything is.
    #[command(flatten)]
    pub backends: Backends,
    /// How an operator sees into it.
    #[command(flatten)]
    pub operations: Operations,
    /// How it serves.
    #[command(flatten)]
    pub gateway: GatewaySettings,
}

/// How the gateway works, wherever it runs.
#[derive(Clone, Debug, Args)]
pub struct GatewaySettings {
    /// The queue that carries uploaded videos.
    #[arg(long, env, value_name = "NAME", default_value = domain::VIDEO_QUEUE)]
    pub video_queue: String,
    /// The queue that carries finished MP3s. The gateway only measures it.
    #[arg(long, env, value_name = "NAME", default_value = domain::MP3_QUEUE)]
    pub mp3_queue: String,
    /// The most bytes of one upload, as `Content-Length` counts them: the form around the file included.
    #[arg(long, env, value_name = "BYTES", default_value_t = 10 * 1024 * 1024 * 1024)]
    pub max_upload_bytes: u64,
    /// The percentage of the blob store's disk that must be free for an upload to begin; and always twice its length.
    #[arg(long, env, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=99))]
    pub min_free_percent: u8,
    /// Who gets the files of the original system, which name no owner.
    #[arg(long, env, value_enum, default_value = "hidden")]
    pub unowned_files: UnownedFiles,
    /// The proxies whose `X-Forwarded-For` is believed: addresses or networks, separated by commas.
    #[arg(long, env, value_name = "NETWORKS", default_value = "", hide_default_value = true)]
    pub trusted_proxies: TrustedProxies,
    /// How many of them stand in a row before the gateway. What stands further left in `X-Forwarded-For` a client
    /// wrote.
    #[arg(long, env, value_name = "COUNT", default_value = "1")]
    pub trusted_proxy_hops: NonZeroU8,
    /// The slowest upload that is put up with.
    #[command(flatten)]
    pub pace: Pace,
    /// How many failed logins are put up with.
    #[command(flatten)]
    pub logins: LoginSettings,
}

/// The slowest upload that is put up with: a floor averaged over a window, and no limit on the whole time.
#[derive(Clone, Copy, Debug, Args)]
pub struct Pace {
    /// The bytes a second that an upload has to bring on average; there is no limit on its whole time.
    #[arg(long, env, value_name = "BYTES", default_value_t = 8 * 1024)]
    pub upload_floor_bytes_per_second: u32,
    /// Over how many seconds of waiting for the client that is averaged.
    #[arg(long, env, value_name = "SECONDS", default_value = "60")]
    pub upload_floor_window: NonZeroU32,
}

/// How many failed logins are put up with. Only failures count, and a success clears those of its account.
#[derive(Clone, Debug, Args)]
pub struct LoginSettings {
    /// The failed logins of one account from one client address before it is told to come back later.
    #[arg(long, env, value_name = "COUNT", default_value = "5")]
    pub login_failures_per_account: NonZeroU32,
    /// The failed logins from one client address, whatever the account; of IPv6, from one /64 network.
    #[arg(long, env, value_name = "COUNT", default_value = "30")]
    pub login_failures_per_address: NonZeroU32,
    /// After how many seconds they are forgotten.
    #[arg(long, env, value_name = "SECONDS", default_value = "60")]
    pub login_failures_window: NonZeroU32,
}

/// Who gets files that name no owner and belong to no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UnownedFiles {
    /// Nobody: 404.
    Hidden,
    /// Every account, as in the original system.
    Shared,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Settings::command().debug_assert();
    }

    #[test]
    fn without_any_setting_it_serves_the_original_systems_world() {
        let settings = Settings::try_parse_from(["gateway", "serve"]).unwrap();
        let Command::Serve(serve) = settings.command else {
            panic!("not serve");
        };
        assert_eq!(serve.listen.to_string(), "0.0.0.0:8080");
        assert_eq!(serve.operations.ops_listen.to_string(), "0.0.0.0:9090");
        assert_eq!(serve.auth_svc_address, "auth:5000");
        assert_eq!(serve.backends.jobs.jobs_url.expose(), "mongodb://mongodb:27017");
        assert_eq!(serve.backends.blobs.blobs_url.expose(), "mongodb://mongodb:27017");
        assert_eq!(serve.backends.queue_url.expose(), "amqp://rabbitmq:5672");
        assert_eq!(serve.gateway.video_queue, "video");
        assert_eq!(serve.gateway.max_upload_bytes, 10_737_418_240);
        assert_eq!(serve.gateway.unowned_files, UnownedFiles::Hidden);
        assert_eq!(serve.gateway.trusted_proxies, TrustedProxies::default());
    }
}

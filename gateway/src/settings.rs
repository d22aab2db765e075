//! The gateway's settings.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use runtime::settings::{Backends, BlobsUrl, JobsUrl, Operations};

use crate::JobsCommand;

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
        /// Delete them however many they are.
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
    /// The most bytes of one upload, as `Content-Length` counts them: the form around the file included.
    #[arg(long, env, value_name = "BYTES", default_value_t = 10 * 1024 * 1024 * 1024)]
    pub max_upload_bytes: u64,
    /// Who gets the files of the original system, which name no owner.
    #[arg(long, env, value_enum, default_value = "hidden")]
    pub unowned_files: UnownedFiles,
    /// The proxies whose `X-Forwarded-For` is believed: addresses or networks, separated by commas.
    #[arg(long, env, value_name = "NETWORKS", default_value = "", hide_default_value = true)]
    pub trusted_proxies: TrustedProxies,
}

/// Who gets files that name no owner and belong to no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UnownedFiles {
    /// Nobody: 404.
    Hidden,
    /// Every account, as in the original system.
    Shared,
}

/// Networks, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// The text is not a list of addresses and networks.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no address and no network: expected such as 10.1.2.3, 10.0.0.0/8 or fd00::/8")]
pub struct InvalidNetwork(String);

impl TrustedProxies {
    /// Whether this is the address of one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromStr for TrustedProxies {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries
            .map(|entry| Network::parse(entry).ok_or_else(|| InvalidNetwork(entry.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width_bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.map_or(Some(width_bits), |prefix| prefix.parse().ok())?;
        (prefix_bits <= width_bits).then_some(Self { address, prefix_bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let prefix_bits = u32::from(self.prefix_bits);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - prefix_bits).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - prefix_bits).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
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

    #[test]
    fn a_proxy_is_trusted_by_address_or_network() {
        let proxies: TrustedProxies = "10.0.0.0/8, 192.0.2.7,fd00::/8,".parse().unwrap();
        let contains = |address: &str| proxies.contains(address.parse().unwrap());
        for inside in ["10.255.0.1", "192.0.2.7", "fd12::1", "::ffff:10.1.1.1"] {
            assert!(contains(inside), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "fe80::1", "::1"] {
            assert!(!contains(outside), "{outside}");
        }
        let everyone: TrustedProxies = "0.0.0.0/0".parse().unwrap();
        assert!(everyone.contains("203.0.113.9".parse().unwrap()));
        assert!(!everyone.contains("::1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in ["localhost", "10.0.0.0/33", "10.0.0.0/", "fd00::/129"] {
            let refused = text.parse::<TrustedProxies>().unwrap_err();
            assert!(refused.to_string().contains(text));
        }
    }
}

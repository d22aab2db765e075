//! Settings that more than one of the services have.

use std::net::SocketAddr;

use clap::Args;
use domain::BackendUrl;

use super::{ListenError, chain, refuse, server};
use crate::metrics::Metrics;
use crate::probes::Readiness;
use crate::telemetry::{self, LogFormat, Telemetry, TraceSettings};
use crate::{Lifecycle, probes};

/// Where the job records are.
#[derive(Clone, Debug, Args)]
pub struct JobsUrl {
    /// Where the job records are: `mongodb://...` (database `jobs`).
    #[arg(
        long,
        env,
        value_name = "URL",
        default_value = "mongodb://mongodb:27017",
        hide_env_values = true
    )]
    pub jobs_url: BackendUrl,
}

/// Where the files are.
#[derive(Clone, Debug, Args)]
pub struct BlobsUrl {
    /// Where videos and MP3s are: `mongodb://...` (databases `videos` and `mp3s`).
    #[arg(
        long,
        env,
        value_name = "URL",
        default_value = "mongodb://mongodb:27017",
        hide_env_values = true
    )]
    pub blobs_url: BackendUrl,
}

/// The servers behind gateway, converter and notification.
#[derive(Clone, Debug, Args)]
pub struct Backends {
    /// The job records.
    #[command(flatten)]
    pub jobs: JobsUrl,
    /// The files.
    #[command(flatten)]
    pub blobs: BlobsUrl,
    /// The broker: `amqp://...` or `amqps://...`.
    #[arg(
        long,
        env,
        value_name = "URL",
        default_value = "amqp://rabbitmq:5672",
        hide_env_values = true
    )]
    pub queue_url: BackendUrl,
}

/// How an operator sees into a service.
#[derive(Clone, Debug, Args)]
pub struct Operations {
    /// The operations port: `/healthz`, `/readyz`, `/metrics`.
    #[arg(long, env = "MP3_OPS_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    pub ops_listen: SocketAddr,
    /// How log lines look.
    #[arg(long, env, value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// Where traces go.
    #[command(flatten)]
    pub traces: TraceSettings,
}

impl JobsUrl {
    /// The URL of a server; ends the process like [`refuse`] when it is a store of the single process.
    pub fn server(&self) -> &BackendUrl {
        server("JOBS_URL", &self.jobs_url)
    }
}

impl BlobsUrl {
    /// The URL of a server; ends the process like [`refuse`] when it is a store of the single process.
    pub fn server(&self) -> &BackendUrl {
        server("BLOBS_URL", &self.blobs_url)
    }
}

impl Backends {
    /// The URL of a broker; ends the process like [`refuse`] when it is the queue of the single process.
    pub fn broker(&self) -> &BackendUrl {
        server("QUEUE_URL", &self.queue_url)
    }
}

impl Operations {
    /// Starts logs and traces of `service`.
    pub fn watch(&self, service: &'static str) -> Telemetry {
        telemetry::start(service, self.log_format, &self.traces)
    }

    /// Serves the operations port on `life`; ends the process like [`refuse`] when it cannot be listened to.
    pub async fn open(&self, readiness: Readiness, metrics: Metrics, life: &Lifecycle) {
        if let Err(error) = probes::serve(self.ops_listen, readiness, metrics, life).await {
            refuse(chain(&ListenError::of("MP3_OPS_LISTEN", self.ops_listen)(error)));
        }
    }
}

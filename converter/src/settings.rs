//! The converter's settings.

use std::net::SocketAddr;

use clap::{Args, Parser};
use domain::BackendUrl;
use runtime::telemetry::LogFormat;

use crate::DeleteSource;

/// The converter of the mp3converter suite: videos in, MP3s out.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Settings {
    /// Where videos and MP3s are: `mongodb://...` (databases `videos` and `mp3s`).
    #[arg(
        long,
        env,
        value_name = "URL",
        default_value = "mongodb://mongodb:27017",
        hide_env_values = true
    )]
    pub blobs_url: BackendUrl,
    /// Where the job records are: `mongodb://...` (database `jobs`).
    #[arg(
        long,
        env,
        value_name = "URL",
        default_value = "mongodb://mongodb:27017",
        hide_env_values = true
    )]
    pub jobs_url: BackendUrl,
    /// The broker: `amqp://...` or `amqps://...`.
    #[arg(
        long,
        env,
        value_name = "URL",
        default_value = "amqp://rabbitmq:5672",
        hide_env_values = true
    )]
    pub queue_url: BackendUrl,
    /// The queue that carries uploaded videos.
    #[arg(long, env, value_name = "NAME", default_value = domain::VIDEO_QUEUE)]
    pub video_queue: String,
    /// The queue that carries finished MP3s.
    #[arg(long, env, value_name = "NAME", default_value = domain::MP3_QUEUE)]
    pub mp3_queue: String,
    /// The operations port: `/healthz`, `/readyz`, `/metrics`.
    #[arg(long, env = "MP3_OPS_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    pub ops_listen: SocketAddr,
    /// How log lines look.
    #[arg(long, env, value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// How it converts.
    #[command(flatten)]
    pub conversion: ConversionSettings,
}

/// How the converter works, wherever it runs.
#[derive(Clone, Debug, Args)]
pub struct ConversionSettings {
    /// How many videos are converted at a time.
    #[arg(long = "converter-jobs", env = "CONVERTER_JOBS", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// What becomes of a video whose MP3 is done.
    #[arg(long, env, value_enum, default_value = "never")]
    pub delete_source: DeleteSource,
}

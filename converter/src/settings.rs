//! The converter's settings.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use clap::{Args, Parser};
use media::child::Program;
use runtime::settings::{Backends, Operations};

use crate::DeleteSource;

/// The converter of the mp3converter suite: videos in, MP3s out.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Settings {
    /// Where everything is.
    #[command(flatten)]
    pub backends: Backends,
    /// The queue that carries uploaded videos.
    #[arg(long, env, value_name = "NAME", default_value = domain::VIDEO_QUEUE)]
    pub video_queue: String,
    /// The queue that carries finished MP3s.
    #[arg(long, env, value_name = "NAME", default_value = domain::MP3_QUEUE)]
    pub mp3_queue: String,
    /// How an operator sees into it.
    #[command(flatten)]
    pub operations: Operations,
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
    /// How many threads encode one video; by default what this machine or its control group allows, shared by the jobs.
    #[arg(long = "converter-threads", env = "CONVERTER_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: Option<u16>,
    /// What becomes of a video whose MP3 is done.
    #[arg(long, env, value_enum, default_value = "never")]
    pub delete_source: DeleteSource,
    /// What the processes that convert execute: this program.
    #[arg(skip)]
    pub program: Program,
}

impl ConversionSettings {
    /// How many threads encode one video: what is set, else its share of what this process may use.
    pub(crate) fn threads_of_a_job(&self) -> NonZeroUsize {
        let share = || available_parallelism().map_or(1, NonZeroUsize::get) / usize::from(self.jobs.max(1));
        let threads = self.threads.map_or_else(share, usize::from);
        NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN)
    }
}

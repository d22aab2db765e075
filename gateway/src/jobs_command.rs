//! `jobs list|show|retry`: what an operator sees of the jobs, and how one is replayed.

use std::io::Write;
use std::sync::Arc;

use clap::Subcommand;
use domain::{Address, Job, JobId, JobState, JobStore, PortError};
use runtime::settings::{EXIT_TROUBLE, EXIT_USAGE};

/// What to do with the job records.
#[derive(Clone, Debug, Subcommand)]
pub enum JobsCommand {
    /// List jobs, newest first.
    List {
        /// Only those in this state.
        #[arg(long)]
        state: Option<JobState>,
        /// Only those of this account.
        #[arg(long, value_name = "ADDRESS")]
        owner: Option<Address>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show everything about one job.
    Show {
        /// Its id.
        id: JobId,
    },
    /// Convert failed or dead jobs again; their owners are told again.
    Retry {
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<JobId>,
    },
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum JobsCommandError {
    /// There is no such job.
    #[error("there is no job {0}")]
    NotFound(JobId),
    /// Only what failed or died can be retried, and only when its upload is whole.
    #[error("job {id} cannot be retried: it is {state}{}", if *.state == JobState::Failed { " and its upload never ended" } else { "" })]
    NotRetryable {
        /// Which.
        id: JobId,
        /// How far it has come.
        state: JobState,
    },
    /// The job store is away.
    #[error("cannot reach the job records")]
    Store(#[from] PortError),
    /// The output cannot be written.
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

impl JobsCommandError {
    /// The exit status that tells them apart: 64 when the job was the wrong one, 70 when it is our own trouble.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) | Self::NotRetryable { .. } => EXIT_USAGE,
            Self::Store(_) | Self::Output(_) => EXIT_TROUBLE,
        }
    }
}

/// Does it, writing what is found to `output`.
///
/// # Errors
/// See [`JobsCommandError`]. `retry` stops at the first job it cannot retry.
pub async fn run(
    command: JobsCommand,
    jobs: Arc<dyn JobStore>,
    output: &mut (dyn Write + Send),
) -> Result<(), JobsCommandError> {
    match command {
        JobsCommand::List { state, owner, limit } => {
            for job in jobs.list(owner.as_ref(), state, limit, None).await? {
                writeln!(output, "{}", line(&job))?;
            }
        }
        JobsCommand::Show { id } => {
            let job = jobs.get(id).await?.ok_or(JobsCommandError::NotFound(id))?;
            show(&job, output)?;
        }
        JobsCommand::Retry { ids } => {
            for id in ids {
                retry(&*jobs, id).await?;
                writeln!(output, "{id} is queued again")?;
            }
        }
    }
    Ok(output.flush()?)
}

async fn retry(jobs: &dyn JobStore, id: JobId) -> Result<(), JobsCommandError> {
    if jobs.replay(id).await? {
        return Ok(());
    }
    let job = jobs.get(id).await?.ok_or(JobsCommandError::NotFound(id))?;
    Err(JobsCommandError::NotRetryable { id, state: job.state })
}

fn line(job: &Job) -> String {
    let reason = job.reason.as_ref().map_or("-", |reason| reason.code.as_str());
    format!(
        "{}  {:<10}  {:>3}%  {:<17}  {}  {}  {}",
        job.id,
        job.state.as_str(),
        percent(job),
        reason,
        job.updated_at,
        job.owner.as_str().escape_debug(),
        filename(job),
    )
}

fn show(job: &Job, output: &mut (dyn Write + Send)) -> Result<(), std::io::Error> {
    let optional = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let reason = job
        .reason
        .as_ref()
        .map(|reason| format!("{}: {}", reason.code.as_str(), reason.message.escape_debug()));
    let options = serde_json::to_string(&job.options).map_err(std::io::Error::other)?;
    for (name, value) in [
        ("id", job.id.to_string()),
        ("owner", job.owner.as_str().escape_debug().to_string()),
        ("state", job.state.to_string()),
        ("progress", format!("{}%", percent(job))),
        ("filename", filename(job)),
        ("size_bytes", optional(job.size_bytes.map(|size| size.to_string()))),
        ("options", options),
        ("mp3_fid", optional(job.mp3.as_ref().map(|mp3| mp3.fid.to_string()))),
        ("reason", optional(reason)),
        ("attempts", job.attempts.to_string()),
        ("created_at", job.created_at.to_string()),
        ("updated_at", job.updated_at.to_string()),
        ("finished_at", optional(job.finished_at.map(|at| at.to_string()))),
    ] {
        writeln!(output, "{name:<12}{value}")?;
    }
    Ok(())
}

fn filename(job: &Job) -> String {
    job.filename.as_deref().unwrap_or("-").escape_debug().to_string()
}

fn percent(job: &Job) -> String {
    format!("{:.0}", job.progress.clamp(0.0, 1.0) * 100.0)
}

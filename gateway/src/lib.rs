//! The gateway service: what clients talk to.
//!
//! ```text
//! POST /login    -> Authenticator
//! POST /upload   -> JobStore: receiving -> BlobStore.put(video) -> JobStore: queued (commit) -> 200, Queue "video"
//! GET  /download -> BlobStore.read(range), streamed
//! GET  /api/v1/jobs, /api/v1/jobs/{id}; DELETE cancels
//! ```
//!
//! Beside the routes it repeats announcements the broker never confirmed, ends uploads whose process went away
//! ([`lapsed`]), once a day looks for files that nobody needs ([`janitor`]), and measures what waits.

mod backlog;
pub mod commands;
mod filename;
mod http;
mod intake;
pub mod janitor;
mod jobs_command;
pub mod lapsed;
mod logins;
mod metrics;
mod multipart;
mod proxies;
mod serve;
mod settings;
mod space;
mod state;

pub use http::router;
pub use jobs_command::{JobsCommand, JobsCommandError, run as run_jobs_command};
pub use proxies::{InvalidNetwork, TrustedProxies};
pub use serve::serve;
pub use settings::{Command, GatewaySettings, LoginSettings, Pace, ServeSettings, Settings, UnownedFiles};
pub use state::{GatewayState, Ports};

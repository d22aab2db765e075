//! Runs a command beside real servers: `with-servers -- cargo test -p adapters`.
//!
//! Starts MariaDB, RabbitMQ and MongoDB at the same time in a scratch directory, sets `TEST_MYSQL_URL`,
//! `TEST_AMQP_URL`, `TEST_AMQP_MANAGEMENT_URL` and `TEST_MONGODB_URL`, runs the command, stops the servers whatever
//! happened, and ends with the command's code. A server whose URL is given from outside is used as it is.

use std::io::IsTerminal;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use testkit::servers::{AMQP_MANAGEMENT_URL, AMQP_URL, MONGODB_URL, MYSQL_URL, MariaDb, MongoDb, RabbitMq, given};
use tokio::signal::unix::{SignalKind, signal};

const WRONG_USAGE: u8 = 64;
const OUR_TROUBLE: u8 = 70;
/// Shells report a command ended by a signal as 128 and the signal's number.
const ENDED_BY_SIGNAL: i32 = 128;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a program's last word to its caller")]
async fn main() -> ExitCode {
    // `cargo run` keeps the first `--` for itself.
    let mut arguments = std::env::args_os().skip(1).peekable();
    arguments.next_if(|first| first == "--");
    let Some(program) = arguments.next() else {
        eprintln!("usage: with-servers [--] COMMAND [ARGUMENT]...");
        return ExitCode::from(WRONG_USAGE);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    match run(command).await {
        Ok(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(OUR_TROUBLE)),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(OUR_TROUBLE)
        }
    }
}

/// Starts, runs, stops; gives the exit code.
async fn run(command: Command) -> anyhow::Result<i32> {
    let mut signals = Signals::listen()?;
    let scratch = tempfile::Builder::new().prefix("mp3converter-servers-").tempdir()?;
    let servers = tokio::select! {
        servers = Servers::start(scratch.path()) => servers?,
        signal = signals.next() => return Ok(ENDED_BY_SIGNAL + signal.as_raw()),
    };
    let outcome = run_command(command, &servers, &mut signals).await;
    // Killed, not stopped: their data goes with the scratch directory, and a clean stop takes seconds.
    drop(servers);
    outcome
}

async fn run_command(mut command: Command, servers: &Servers, signals: &mut Signals) -> anyhow::Result<i32> {
    command.envs(servers.variables());
    // At a terminal the command stays in our group, where the keyboard's signals reach it. Elsewhere it gets a group of
    // its own, so that a forwarded signal reaches what the command started too.
    let own_group = !std::io::stdin().is_terminal();
    if own_group {
        command.process_group(0);
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let pid = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
        .context("the command has no process id")?;
    let mut signals_seen = 0;
    loop {
        tokio::select! {
            status = child.wait() => {
                if own_group {
                    kill_process_group(pid, Signal::KILL).ok();
                }
                return Ok(code_of(status?));
            }
            signal = signals.next() => {
                signals_seen += 1;
                let signal = if signals_seen < 3 { signal } else { Signal::KILL };
                if own_group {
                    kill_process_group(pid, signal).ok();
                } else {
                    kill_process(pid, signal).ok();
                }
            }
        }
    }
}

fn code_of(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| ENDED_BY_SIGNAL + signal))
        .unwrap_or(i32::from(OUR_TROUBLE))
}

/// The servers started here; one whose URL was given is `None`.
struct Servers {
    mariadb: Option<MariaDb>,
    rabbitmq: Option<RabbitMq>,
    mongodb: Option<MongoDb>,
}

impl Servers {
    async fn start(scratch: &Path) -> anyhow::Result<Self> {
        let rabbitmq_given = match (given(AMQP_URL), given(AMQP_MANAGEMENT_URL)) {
            (Some(_), Some(_)) => true,
            (None, None) => false,
            _ => anyhow::bail!("give both {AMQP_URL} and {AMQP_MANAGEMENT_URL}, or none"),
        };
        let mariadb = async {
            match given(MYSQL_URL) {
                Some(_) => Ok(None),
                None => MariaDb::start(&scratch.join("mariadb")).await.map(Some),
            }
        };
        let rabbitmq = async {
            if rabbitmq_given {
                return Ok(None);
            }
            RabbitMq::start(&scratch.join("rabbitmq")).await.map(Some)
        };
        let mongodb = async {
            match given(MONGODB_URL) {
                Some(_) => Ok(None),
                None => MongoDb::start(&scratch.join("mongodb")).await.map(Some),
            }
        };
        let (mariadb, rabbitmq, mongodb) = tokio::try_join!(mariadb, rabbitmq, mongodb)?;
        Ok(Self {
            mariadb,
            rabbitmq,
            mongodb,
        })
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        if let Some(mariadb) = &self.mariadb {
            variables.push((MYSQL_URL, mariadb.url()));
        }
        if let Some(rabbitmq) = &self.rabbitmq {
            variables.push((AMQP_URL, rabbitmq.url()));
            variables.push((AMQP_MANAGEMENT_URL, rabbitmq.management_url()));
        }
        if let Some(mongodb) = &self.mongodb {
            variables.push((MONGODB_URL, mongodb.url()));
        }
        variables
    }
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }
}

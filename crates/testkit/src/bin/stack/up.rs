//! Starting it all.

use std::fs::{File, TryLockError, create_dir_all, remove_dir_all};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use testkit::servers::{MariaDb, MongoDb, RabbitMq, ServerProcess, free_port, free_ports, random_hexadecimal};
use tokio::net::TcpStream;

use crate::record::{Process, Record};
use crate::services::{Service, Surroundings, programs};
use crate::{complain, say};

const EMAIL: &str = "admin@localhost";
const USUAL_GATEWAY_PORT: u16 = 8080;
const SINK_DEADLINE: Duration = Duration::from_secs(30);

/// Starts the stack in `directory` and leaves it running, or says that it runs.
///
/// When anything fails, or this program is killed, everything started so far is killed too.
pub(crate) async fn up(directory: &Path) -> anyhow::Result<ExitCode> {
    create_dir_all(directory)?;
    let directory = &directory.canonicalize()?;
    let lock = File::create(directory.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another `make stack` is at work"),
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the directory"),
    }
    if let Some(record) = Record::read(directory)? {
        let ended: Vec<&str> = names(&record, |process| !process.is_alive());
        if ended.is_empty() {
            say("the stack is running already");
            show(&record, directory);
            return Ok(ExitCode::SUCCESS);
        }
        if ended.len() < record.processes.len() {
            complain(format!(
                "the stack is running in part, ended: {}; `make stack-down` first",
                ended.join(", ")
            ));
            return Ok(ExitCode::FAILURE);
        }
    }
    begin_anew(directory)?;
    let record = start(directory).await?;
    say("the stack is up");
    show(&record, directory);
    Ok(ExitCode::SUCCESS)
}

/// Removes what the last run left, and makes the directories.
fn begin_anew(directory: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_dir_all(entry.path())?;
        } else if entry.file_name() != "lock" {
            std::fs::remove_file(entry.path())?;
        }
    }
    for name in ["log", "mail"] {
        create_dir_all(directory.join(name))?;
    }
    Ok(())
}

async fn start(directory: &Path) -> anyhow::Result<Record> {
    say("starting MariaDB, RabbitMQ, MongoDB and a mail sink");
    let (mariadb_home, rabbitmq_home, mongodb_home) = (
        directory.join("mariadb"),
        directory.join("rabbitmq"),
        directory.join("mongodb"),
    );
    let (mariadb, rabbitmq, mongodb, (mail_sink, mail_port)) = tokio::try_join!(
        MariaDb::start(&mariadb_home),
        RabbitMq::start(&rabbitmq_home),
        MongoDb::start(&mongodb_home),
        start_mail_sink(directory),
    )?;
    let logs = directory.join("log");
    for name in ["mariadb", "rabbitmq", "mongodb"] {
        symlink(format!("../{name}/{name}.log"), logs.join(format!("{name}.log")))?;
    }

    let mysql_password = random_hexadecimal()?;
    mariadb.prepare_accounts(&mysql_password).await?;

    let programs = programs()?;
    // Of two stacks that start at once, both would find the usual port free.
    let turn = File::open(&programs)?;
    turn.lock()?;
    let [auth_port] = free_ports()?;
    let surroundings = Surroundings {
        programs,
        logs,
        mysql_port: mariadb.port(),
        mysql_password,
        mongodb_url: mongodb.url(),
        amqp_url: rabbitmq.url(),
        smtp_url: format!("smtp://127.0.0.1:{mail_port}"),
        gateway_port: gateway_port()?,
        auth_port,
    };
    let password = random_hexadecimal()?;
    say("adding an account and starting auth, gateway, converter and notification");
    surroundings.add_account(EMAIL, &password).await?;
    let mut services = surroundings.start()?;
    for service in &mut services {
        service.wait_until_ready().await?;
    }
    drop(turn);

    let (management_url, management_password) = rabbitmq.management_login();
    let (broker, port_mapper) = rabbitmq.into_processes();
    let mut processes = vec![
        ("mariadb", mariadb.into_process()),
        ("epmd", port_mapper),
        ("rabbitmq", broker),
        ("mongodb", mongodb.into_process()),
        ("mail-sink", mail_sink),
    ];
    processes.extend(
        services
            .into_iter()
            .map(|Service { name, process, .. }| (name, process)),
    );
    let record = Record {
        gateway_url: surroundings.gateway_url(),
        email: EMAIL.into(),
        password,
        management_url,
        management_password,
        processes: processes
            .iter()
            .map(|(name, process)| Process::describe(name, process))
            .collect::<anyhow::Result<_>>()?,
    };
    // Written before they are let go: at no moment does something run that nobody knows of.
    record.write(directory)?;
    for (_, process) in processes {
        process.detach();
    }
    Ok(record)
}

async fn start_mail_sink(directory: &Path) -> anyhow::Result<(ServerProcess, u16)> {
    let port = free_port()?;
    let log = directory.join("log/mail-sink.log");
    let program = std::env::current_exe()?;
    let mut process = ServerProcess::spawn("mail-sink", program, &log, |command| {
        command
            .arg("mail-sink")
            .arg(port.to_string())
            .arg(directory.join("mail"));
    })?;
    process
        .wait_until_ready(SINK_DEADLINE, || async {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            Ok(())
        })
        .await?;
    Ok((process, port))
}

/// 8080 when nobody has it, else the next free one.
fn gateway_port() -> anyhow::Result<u16> {
    (USUAL_GATEWAY_PORT..USUAL_GATEWAY_PORT + 100)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port for the gateway from 8080 to 8179")
}

fn names(record: &Record, wanted: impl Fn(&Process) -> bool) -> Vec<&str> {
    record
        .processes
        .iter()
        .filter(|process| wanted(process))
        .map(|process| process.name.as_str())
        .collect()
}

/// What a person needs to use it.
fn show(record: &Record, directory: &Path) {
    let Record {
        gateway_url,
        email,
        password,
        management_url,
        management_password,
        ..
    } = record;
    say(format!(
        r#"
  TOKEN=$(curl -s -u '{email}:{password}' -X POST {gateway_url}/login)
  curl -H "Authorization: Bearer $TOKEN" -F file=@video.mp4 {gateway_url}/upload
  curl -H "Authorization: Bearer $TOKEN" -OJ "{gateway_url}/download?fid=FID"

  mails                {mail}  (the FID is in the mail)
  RabbitMQ management  {management_url}/  user mp3, password {management_password}
  logs                 {logs}

`make stack-down` stops it."#,
        mail = directory.join("mail").display(),
        logs = directory.join("log").display(),
    ));
}

//! An SMTP server that delivers to nobody: every mail becomes a file.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use mailcrab::MailMessage;
use tokio::sync::broadcast::channel;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

const CAPACITY: usize = 4096;

/// Serves `port` on 127.0.0.1 until it is killed, and writes `000001.eml`, `000002.eml` and so on into `directory`.
pub(crate) async fn run(port: &str, directory: &Path) -> anyhow::Result<ExitCode> {
    let port: u16 = port.parse().context("not a port")?;
    let (arriving, mut arrived) = channel(CAPACITY);
    let server = mailcrab::mail_server(
        Ipv4Addr::LOCALHOST.into(),
        port,
        arriving,
        false,
        CancellationToken::new(),
    );
    let keep = async {
        for number in 1_u32.. {
            match arrived.recv().await {
                Ok(mail) => store(directory, number, &mail)?,
                Err(RecvError::Lagged(lost)) => bail!("{lost} mails came faster than they could be written"),
                Err(RecvError::Closed) => break,
            }
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = server => ended?,
        kept = keep => kept?,
    }
    bail!("the mail sink ended: is port {port} taken?")
}

fn store(directory: &Path, number: u32, mail: &MailMessage) -> anyhow::Result<()> {
    let bytes = mail.raw_bytes().context("a mail without bytes")?;
    let part = directory.join("part");
    std::fs::write(&part, bytes)?;
    // Whoever watches the directory sees whole mails only.
    std::fs::rename(part, directory.join(format!("{number:06}.eml")))?;
    Ok(())
}

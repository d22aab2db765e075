//! The single process on its embedded adapters, and somebody who starts it again, as a supervisor does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::servers::free_ports;
use testkit::until;
use tokio::process::Command;

use crate::instance::Instance;
use crate::ledger::Ledger;
use crate::plan::{SINGLE, Service};
use crate::sink::Sink;

/// `mp3converter serve`. Dropping it kills it.
pub(crate) struct Single {
    pub(crate) sink: Sink,
    pub(crate) instance: Instance,
    data: PathBuf,
    program: PathBuf,
    variables: Vec<(&'static str, String)>,
    closing: AtomicBool,
}

impl Single {
    /// Starts it from `programs`, with its data and log in `directory` and with these variables beside its own.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) async fn start(
        directory: &Path,
        programs: &Path,
        extra: Vec<(&'static str, String)>,
        ledger: Arc<Ledger>,
    ) -> anyhow::Result<Arc<Self>> {
        let sink = Sink::start(ledger).await?;
        let [port, operations] = free_ports()?;
        let data = directory.join("data");
        let mut variables = vec![
            ("MP3_DATA_DIR", data.display().to_string()),
            ("MP3_LISTEN", format!("127.0.0.1:{port}")),
            ("MP3_OPS_LISTEN", format!("127.0.0.1:{operations}")),
            ("SMTP_URL", format!("smtp://127.0.0.1:{}", sink.port)),
            ("MAIL_FROM", "mp3converter@localhost".to_owned()),
            ("PUBLIC_URL", "http://mp3converter.test".to_owned()),
            // How full the machine is that this runs on is no part of it.
            ("MIN_FREE_PERCENT", "0".to_owned()),
            ("LOG_FORMAT", "text".to_owned()),
            ("RUST_LOG", "info".to_owned()),
        ];
        variables.extend(extra);
        let service = Service(SINGLE, 0);
        let instance = Instance::start(service, port, Vec::new(), programs, directory, variables.clone())?;
        let single = Arc::new(Self {
            sink,
            instance,
            data,
            program: programs.join(service.0),
            variables,
            closing: AtomicBool::new(false),
        });
        let keeper = Arc::clone(&single);
        tokio::spawn(async move { keeper.instance.keep(&keeper.closing).await });
        until("the single process", async || {
            let answer = crate::http::get(port, "", "/readyz").await.ok();
            answer.filter(|answer| answer.status == 200)
        })
        .await;
        Ok(single)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.instance.port
    }

    /// A command of the program on the same data.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Where the files are.
    pub(crate) fn files(&self) -> PathBuf {
        self.data.join("blobs")
    }

    /// Starts it no more from now on.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }
}

//! A server of one process, and the home it comes back to.

use super::process::ServerProcess;

/// Where a server keeps its data, and how it is started there, also again.
pub trait Home: Sized + Sync {
    /// Starts the server and waits until it can be used.
    ///
    /// # Errors
    ///
    /// When it is not installed or does not come up; with the end of its log.
    fn launch(&self) -> impl Future<Output = anyhow::Result<ServerProcess>> + Send;

    /// The URL of the server, without a database.
    fn url(&self) -> String;

    /// The port on 127.0.0.1, the same after a restart.
    fn port(&self) -> u16;
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Running<H> {
    home: H,
    process: ServerProcess,
}

impl<H: Home> Running<H> {
    /// Starts a server in its home.
    pub(super) async fn launch(home: H) -> anyhow::Result<Self> {
        let process = home.launch().await?;
        Ok(Self { home, process })
    }

    /// The URL of the server, without a database.
    pub fn url(&self) -> String {
        self.home.url()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.home.port()
    }

    /// The id of the server's process and process group.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The process, to freeze it or let it live on.
    pub fn process(&self) -> &ServerProcess {
        &self.process
    }

    /// The process, for [`ServerProcess::detach`].
    pub fn into_process(self) -> ServerProcess {
        self.process
    }

    /// Stops the server cleanly.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.stop().await
    }

    /// Kills the server as a power cut would, its clients' connections included.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again on the same data and port, after [`Self::stop`] or [`Self::kill`].
    ///
    /// # Errors
    ///
    /// When it does not come up; with the end of its log.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.stop().await?;
        self.process = self.home.launch().await?;
        Ok(())
    }
}

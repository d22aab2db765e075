//! A private RabbitMQ with the management plugin.

use std::fs::{Permissions, create_dir_all, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::management::ManagementApi;
use super::ports::free_ports;
use super::process::ServerProcess;
use super::random::random_hexadecimal;

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
const USER: &str = "mp3";
const START_DEADLINE: Duration = Duration::from_secs(180);

/// A prepared directory, ports and the administrator's password, the same after a restart.
#[derive(Clone)]
pub struct RabbitMqHome {
    directory: PathBuf,
    amqp_port: u16,
    management_port: u16,
    distribution_port: u16,
    epmd_port: u16,
    password: String,
}

/// A running RabbitMQ whose only user is the administrator `mp3`. Dropping it kills it.
pub struct RabbitMq {
    home: RabbitMqHome,
    process: ServerProcess,
    /// Erlang's port mapper. The broker would start a shared one that outlives it.
    port_mapper: ServerProcess,
}

impl RabbitMqHome {
    /// Writes the configuration, with fresh ports and a random password, into `directory`.
    pub fn prepare(directory: &Path) -> anyhow::Result<Self> {
        let [amqp_port, management_port, distribution_port, epmd_port] = free_ports()?;
        let home = Self {
            directory: std::path::absolute(directory)?,
            amqp_port,
            management_port,
            distribution_port,
            epmd_port,
            password: random_hexadecimal()?,
        };
        create_dir_all(&home.directory)?;
        home.write_files()?;
        Ok(home)
    }

    /// Starts the broker and waits until AMQP and the management API answer.
    pub async fn start(self) -> anyhow::Result<RabbitMq> {
        let port_mapper = self.launch_port_mapper()?;
        let process = self.launch().await?;
        Ok(RabbitMq {
            home: self,
            process,
            port_mapper,
        })
    }

    /// `amqp://mp3:SECRET@127.0.0.1:PORT`, without a virtual host.
    pub fn url(&self) -> String {
        format!("amqp://{USER}:{}@127.0.0.1:{}", self.password, self.amqp_port)
    }

    /// `http://mp3:SECRET@127.0.0.1:PORT`.
    pub fn management_url(&self) -> String {
        format!("http://{USER}:{}@127.0.0.1:{}", self.password, self.management_port)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write_files(&self) -> anyhow::Result<()> {
        let configuration = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management}\n\
             default_user = {USER}\n\
             default_pass = {password}\n\
             default_user_tags.administrator = true\n\
             collect_statistics_interval = 500\n",
            amqp = self.amqp_port,
            management = self.management_port,
            password = self.password,
        );
        write(self.path("rabbitmq.conf"), configuration)?;
        // How soon the depth of a quorum queue shows in the management API, and how soon a dead letter is sent again
        // that found no room.
        let advanced =
            "[{rabbit, [{quorum_tick_interval, 500}, {dead_letter_worker_publisher_confirm_timeout, 2000}]}].\n";
        write(self.path("advanced.config"), advanced)?;
        write(self.path("enabled_plugins"), "[rabbitmq_management].\n")?;
        // Empty, and there so that the machine's own is not read.
        write(self.path("rabbitmq-env.conf"), "")?;
        let cookie = self.path(".erlang.cookie");
        write(&cookie, random_hexadecimal()?)?;
        // Erlang refuses a cookie others can read.
        set_permissions(cookie, Permissions::from_mode(0o400))?;
        set_permissions(self.path("rabbitmq.conf"), Permissions::from_mode(0o600))?;
        Ok(())
    }

    fn launch_port_mapper(&self) -> anyhow::Result<ServerProcess> {
        let port = self.epmd_port.to_string();
        ServerProcess::spawn("epmd", "epmd", &self.path("epmd.log"), |command| {
            command.args(["-port", &port, "-address", "127.0.0.1"]);
        })
    }

    async fn launch(&self) -> anyhow::Result<ServerProcess> {
        anyhow::ensure!(
            Path::new(SERVER).exists(),
            "no {SERVER}: install rabbitmq-server, for example with `scripts/setup.sh test`"
        );
        let log = self.path("rabbitmq.log");
        let mut process = ServerProcess::spawn("rabbitmq-server", SERVER, &log, |command| {
            self.configure(command);
        })?;
        let management = ManagementApi::new(&self.management_url(), "/")?;
        process
            .wait_until_ready(START_DEADLINE, || management.check_listener(self.amqp_port))
            .await
            .context("RabbitMQ does not come up")?;
        Ok(process)
    }

    fn configure(&self, command: &mut Command) {
        // Whatever this machine's broker is told by its environment is not meant for this one.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("RABBITMQ_") || text.starts_with("ERL_") {
                command.env_remove(&name);
            }
        }
        command
            .env("HOME", &self.directory)
            .env("RABBITMQ_NODENAME", format!("mp3-{}@127.0.0.1", self.amqp_port))
            // An address for a name, which needs no resolver; Erlang takes it for a long name.
            .env("RABBITMQ_USE_LONGNAME", "true")
            .env("RABBITMQ_NODE_PORT", self.amqp_port.to_string())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false",
            )
            .env("RABBITMQ_CONF_ENV_FILE", self.path("rabbitmq-env.conf"))
            .env("RABBITMQ_CONFIG_FILE", self.path("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", self.path("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.path("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", self.path("data"))
            .env("RABBITMQ_PLUGINS_EXPAND_DIR", self.path("plugins"))
            .env("RABBITMQ_LOG_BASE", self.path("log"))
            .env("RABBITMQ_PID_FILE", self.path("rabbitmq.pid"))
            .current_dir(&self.directory);
    }
}

impl RabbitMq {
    /// Prepares `directory` and starts a broker in it.
    ///
    /// # Errors
    ///
    /// When RabbitMQ is not installed or does not come up; with the end of its log.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        RabbitMqHome::prepare(directory)?.start().await
    }

    /// `amqp://mp3:SECRET@127.0.0.1:PORT`, without a virtual host.
    pub fn url(&self) -> String {
        self.home.url()
    }

    /// `http://mp3:SECRET@127.0.0.1:PORT`.
    pub fn management_url(&self) -> String {
        self.home.management_url()
    }

    /// The address of the management page, `http://127.0.0.1:PORT`, and the password of its user `mp3`.
    pub fn management_login(&self) -> (String, String) {
        let address = format!("http://127.0.0.1:{}", self.home.management_port);
        (address, self.home.password.clone())
    }

    /// The port of AMQP on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.home.amqp_port
    }

    /// The management API, for the given virtual host.
    pub fn management(&self, vhost: &str) -> anyhow::Result<ManagementApi> {
        ManagementApi::new(&self.management_url(), vhost)
    }

    /// The id of the process group: the start script leads it, the Erlang machine is in it.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The process, to freeze it.
    pub fn process(&self) -> &ServerProcess {
        &self.process
    }

    /// The broker and its port mapper, for [`ServerProcess::detach`].
    pub fn into_processes(self) -> (ServerProcess, ServerProcess) {
        (self.process, self.port_mapper)
    }

    /// Stops the broker cleanly, and its port mapper.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.stop().await?;
        self.port_mapper.stop().await
    }

    /// Kills the broker as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
        self.port_mapper.kill();
    }

    /// Starts the broker again on the same data and ports, after [`Self::stop`] or [`Self::kill`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        self.port_mapper = self.home.launch_port_mapper()?;
        self.process = self.home.launch().await?;
        Ok(())
    }

    /// Kills the broker and starts it again as if its disk were new: everything it held is gone.
    ///
    /// # Errors
    ///
    /// When its data cannot be removed, or it does not come up.
    pub async fn restart_empty(&mut self) -> anyhow::Result<()> {
        self.kill();
        std::fs::remove_dir_all(self.home.path("data"))?;
        self.restart().await
    }

    /// Runs `rabbitmqctl` with these arguments, for example `set_vm_memory_high_watermark 0`.
    ///
    /// # Errors
    ///
    /// When it fails; with what it said.
    pub async fn control(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(CONTROL);
        self.home.configure(&mut command);
        // Only for a server's own machine: a tool that took the node's ports for itself could not reach it.
        command
            .env_remove("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS")
            .env_remove("RABBITMQ_DIST_PORT");
        let output = tokio::process::Command::from(command)
            .args(["--longnames", "--quiet"])
            .args(arguments)
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run rabbitmqctl")?;
        anyhow::ensure!(
            output.status.success(),
            "rabbitmqctl {}: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

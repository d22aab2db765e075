//! The `mp3converter` binary: the suite in one process, and its tools.

use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use domain::BackendUrl;
use runtime::settings::{self, EXIT_DATA, EXIT_TROUBLE, EXIT_USAGE};
use runtime::telemetry::{self, LogFormat};
use standalone::{ConvertCommand, ConvertCommandError, DataDir, ServeSettings, StoreSettings};

/// Turns uploaded videos into MP3s and tells their owners.
#[derive(Parser)]
#[command(version, name = "mp3converter")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole suite in this process (the default).
    Serve(Box<ServeSettings>),
    /// Convert one file, without any service.
    Convert(ConvertCommand),
    /// Keep the accounts.
    User {
        #[command(flatten)]
        stores: StoreSettings,
        #[command(subcommand)]
        command: auth::users_command::UserCommand,
    },
    /// Look at jobs, and replay those that failed or died.
    Jobs {
        #[command(flatten)]
        stores: StoreSettings,
        #[command(subcommand)]
        command: gateway::JobsCommand,
    },
    /// Look for files that nobody needs and delete them, once, now.
    Janitor {
        #[command(flatten)]
        stores: StoreSettings,
        /// Delete those, too, that no job record knows, however many they are.
        #[arg(long)]
        confirm: bool,
    },
    /// Check what the suite needs, and say what to do about what is missing.
    Doctor(StoreSettings),
    /// Print every setting of `serve` with its default, as a file of environment variables.
    Settings,
    /// Print the script that completes this command in a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Write the man pages.
    Man {
        /// The directory they go to.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    media::child::run_if_child();
    runtime::install_tls_provider();
    let cli: Cli = settings::parse_or_command("serve");
    if let Command::Convert(command) = &cli.command {
        return convert(command);
    }
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(cli.command)),
        Err(error) => say(EXIT_TROUBLE, &error),
    }
}

async fn run(command: Command) -> ExitCode {
    match command {
        Command::Serve(serve) => {
            let telemetry = telemetry::start("mp3converter", serve.log_format, &serve.traces);
            let status = standalone::run_serve(*serve).await;
            telemetry.end().await;
            status
        }
        Command::Convert(command) => convert(&command),
        Command::User { stores, command } => {
            telemetry::init(LogFormat::Text);
            let users = adapters::users::connect(&below(&stores, StoreSettings::users));
            let users = users.unwrap_or_else(|error| settings::refuse(settings::chain(&error)));
            auth::users_command::run(command, users).await
        }
        Command::Jobs { stores, command } => {
            telemetry::init(LogFormat::Text);
            let jobs = adapters::jobs::connect(&below(&stores, StoreSettings::jobs));
            let jobs = jobs.unwrap_or_else(|error| settings::refuse(settings::chain(&error)));
            gateway::commands::jobs(command, jobs).await
        }
        Command::Janitor { stores, confirm } => {
            telemetry::init(LogFormat::Text);
            let unusable = |error: adapters::ConnectError| -> ! { settings::refuse(settings::chain(&error)) };
            let blobs = adapters::blobs::connect(&below(&stores, StoreSettings::blobs)).unwrap_or_else(|e| unusable(e));
            let jobs = adapters::jobs::connect(&below(&stores, StoreSettings::jobs)).unwrap_or_else(|e| unusable(e));
            gateway::commands::janitor(blobs, jobs, confirm).await
        }
        Command::Doctor(stores) => standalone::run_doctor(&stores).await,
        Command::Settings => print(&standalone::settings_file()),
        Command::Completions { shell } => print(&standalone::completions(Cli::command(), shell)),
        Command::Man { directory } => match standalone::write_man_pages(Cli::command(), &directory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => say(EXIT_USAGE, &error),
        },
    }
}

/// Generated text on standard output.
fn print(text: &[u8]) -> ExitCode {
    match io::stdout().write_all(text) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, such as `head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => say(EXIT_TROUBLE, &error),
    }
}

/// The URL of a store that may lie in the data directory, which is made when it is missing.
fn below(stores: &StoreSettings, url: impl Fn(&StoreSettings, &DataDir) -> BackendUrl) -> BackendUrl {
    let data = DataDir::open(&stores.data_dir).unwrap_or_else(|error| settings::refuse(settings::chain(&error)));
    url(stores, &data)
}

fn convert(command: &ConvertCommand) -> ExitCode {
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let status = match &error {
                ConvertCommandError::Verdict(_) => EXIT_DATA,
                ConvertCommandError::Output { source, .. } if source.kind() == ErrorKind::IsADirectory => EXIT_USAGE,
                ConvertCommandError::Input { source, .. } if is_a_wrong_name(source.kind()) => EXIT_USAGE,
                ConvertCommandError::Option(_) => EXIT_USAGE,
                ConvertCommandError::Input { .. }
                | ConvertCommandError::Output { .. }
                | ConvertCommandError::Child(_)
                | ConvertCommandError::Engine(_) => EXIT_TROUBLE,
            };
            say(status, &error)
        }
    }
}

/// Whether the one who named the file can put it right; a disk that cannot be read is trouble.
const fn is_a_wrong_name(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory | ErrorKind::NotADirectory
    )
}

/// One sentence on standard error, and the status.
#[expect(clippy::print_stderr, reason = "a command's last word to its caller")]
fn say(status: u8, error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("mp3converter: {}", settings::chain(error));
    ExitCode::from(status)
}

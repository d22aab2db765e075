//! Settings: one clap struct per binary, read once, from the command line and the environment.
//!
//! Every variable `NAME` may also be given as `NAME_FILE`, the path of a file that holds the value, as Kubernetes and
//! Docker mount secrets. `--help` is the reference.

mod listen;
mod shared;

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::io::Write as _;
use std::str::FromStr;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Parser};
use domain::BackendUrl;

use crate::healthcheck;

pub use listen::{ListenError, listen};
pub use shared::{Backends, BlobsUrl, JobsUrl, Operations};

/// The exit status for wrong usage and missing or contradictory settings (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;
/// The exit status when the owner's media is at fault (`EX_DATAERR`).
pub const EXIT_DATA: u8 = 65;
/// The exit status of our own trouble (`EX_SOFTWARE`).
pub const EXIT_TROUBLE: u8 = 70;

/// A value that must not be seen: `Debug` and `Display` hide it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self(value.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads the settings, or ends the process: with the help or version that was asked for and status 0, else with one
/// clear sentence and [`EXIT_USAGE`].
///
/// `PROGRAM healthcheck` asks the service beside it instead and ends with 0 when that is ready, else with 1.
pub fn parse<T: Parser>() -> T {
    parse_from(std::env::args_os().collect())
}

/// Like [`parse`], for a program with commands: a command line that names none means `command`.
pub fn parse_or_command<T: Parser>(command: &str) -> T {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let asks_for_itself = |argument: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|flag| argument == flag);
    let names_none = arguments
        .get(1)
        .is_none_or(|first| first.as_encoded_bytes().starts_with(b"-"));
    if names_none && !arguments.iter().skip(1).any(asks_for_itself) {
        arguments.insert(1.min(arguments.len()), command.into());
    }
    parse_from(arguments)
}

fn parse_from<T: Parser>(arguments: Vec<OsString>) -> T {
    if healthcheck::is_asked_for(&arguments) {
        end_with_health();
    }
    let command = match with_secret_files(T::command(), &|name| process_environment(name)) {
        Ok(command) => command,
        Err(message) => refuse(message),
    };
    let parsed = command
        .try_get_matches_from(arguments)
        .and_then(|mut matches| T::from_arg_matches_mut(&mut matches));
    match parsed {
        Ok(settings) => settings,
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
            _ => {
                if let Some(sentence) = without_secret(&error, T::command()) {
                    refuse(sentence);
                }
                // Nothing is left to do when standard error is closed.
                let _closed = error.print();
                std::process::exit(i32::from(EXIT_USAGE))
            }
        },
    }
}

fn end_with_health() -> ! {
    let healthy = healthcheck::run(&|name| process_environment(name));
    if let Err(sentence) = &healthy {
        // Nothing is left to do when standard error is closed.
        let _closed = writeln!(std::io::stderr(), "error: {sentence}");
    }
    std::process::exit(i32::from(healthy.is_err()))
}

/// Ends the process with one sentence on standard error and [`EXIT_USAGE`].
pub fn refuse(message: impl Display) -> ! {
    // Nothing is left to do when standard error is closed.
    let _closed = writeln!(std::io::stderr(), "error: {message}");
    std::process::exit(i32::from(EXIT_USAGE))
}

/// The URL of the setting `name`, which a service of its own shares with others; ends the process like [`refuse`] when
/// it is a store of the single process.
pub fn server<'a>(name: &str, url: &'a BackendUrl) -> &'a BackendUrl {
    if matches!(url.scheme(), "memory" | "file" | "sqlite") {
        let scheme = url.scheme();
        refuse(format!(
            "{name}: `{scheme}:` works only inside the single process `mp3converter serve`; name a server"
        ));
    }
    url
}

/// An error and its causes in one line, for [`refuse`].
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    domain::Chain(error).to_string()
}

/// What is wrong with a value, told without the value itself where it may hold a secret.
fn without_secret(error: &clap::Error, mut command: Command) -> Option<String> {
    command.build();
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let argument = arguments_of(&command)
        .into_iter()
        .find(|argument| argument.to_string() == *named)?;
    let name = argument
        .get_env()
        .filter(|_| argument.is_hide_env_values_set())?
        .to_string_lossy()
        .into_owned();
    let reason = std::error::Error::source(error).map_or_else(|| "it is empty".to_owned(), ToString::to_string);
    Some(format!("{name} cannot be used: {reason}"))
}

/// The arguments of a command and of all below it.
fn arguments_of(command: &Command) -> Vec<&clap::Arg> {
    let below = command.get_subcommands().flat_map(arguments_of);
    command.get_arguments().chain(below).collect()
}

/// For each argument with a variable `NAME`, takes the contents of the file in `NAME_FILE` when that is set.
fn with_secret_files(
    mut command: Command,
    environment: &dyn Fn(&OsStr) -> Option<OsString>,
) -> Result<Command, String> {
    let names: Vec<(clap::Id, OsString)> = command
        .get_arguments()
        .filter_map(|argument| Some((argument.get_id().clone(), argument.get_env()?.to_owned())))
        .collect();
    for (id, name) in names {
        let mut file_name = name.clone();
        file_name.push("_FILE");
        let value = environment(&name);
        let is_empty = value.as_ref().is_some_and(|value| value.is_empty());
        if is_empty {
            // Set to nothing, as manifests and composed files leave it, means not set.
            command = command.mut_arg(&id, |argument| argument.env(Resettable::Reset));
        }
        let Some(path) = environment(&file_name).filter(|path| !path.is_empty()) else {
            continue;
        };
        if value.is_some() && !is_empty {
            return Err(format!(
                "both {} and {} are set; give one of them",
                name.display(),
                file_name.display()
            ));
        }
        let contents = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: cannot read `{}`: {error}", file_name.display(), path.display()))?;
        let value = contents.trim_end_matches(['\n', '\r']).to_owned();
        command = command.mut_arg(&id, |argument| {
            argument.default_value(value).hide_default_value(true).required(false)
        });
    }
    let subcommands: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for sub in subcommands {
        let mut failed = None;
        command = command.mut_subcommand(sub, |sub| {
            with_secret_files(sub.clone(), environment).unwrap_or_else(|message| {
                failed = Some(message);
                sub
            })
        });
        if let Some(message) = failed {
            return Err(message);
        }
    }
    Ok(command)
}

/// The one place beside clap that reads the environment.
fn process_environment(name: &OsStr) -> Option<OsString> {
    std::env::var_os(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    struct Example {
        #[arg(long, env = "EXAMPLE_SECRET_OF_TEST", hide_env_values = true)]
        secret: Secret,
    }

    fn read(variables: &[(&str, &str)]) -> Result<Example, String> {
        let environment = |name: &OsStr| {
            variables
                .iter()
                .find(|(key, _)| OsStr::new(key) == name)
                .map(|(_, value)| value.into())
        };
        let command = with_secret_files(<Example as clap::CommandFactory>::command(), &environment)?;
        let matches = command
            .try_get_matches_from(["example"])
            .map_err(|error| error.to_string())?;
        <Example as clap::FromArgMatches>::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_read_from_the_file_its_variable_names() {
        let file = std::env::temp_dir().join(format!("secret-{}", std::process::id()));
        std::fs::write(&file, "hunter2\n").unwrap();
        let example = read(&[("EXAMPLE_SECRET_OF_TEST_FILE", file.to_str().unwrap())]).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(example.secret.expose(), "hunter2");
        assert_eq!(format!("{} {:?}", example.secret, example.secret), "*** ***");
    }

    #[test]
    fn a_value_and_a_file_together_are_refused() {
        let both = [
            ("EXAMPLE_SECRET_OF_TEST", "a"),
            ("EXAMPLE_SECRET_OF_TEST_FILE", "/nowhere"),
        ];
        assert!(read(&both).err().unwrap().contains("both EXAMPLE_SECRET_OF_TEST and"));
    }

    #[test]
    fn a_variable_set_to_nothing_is_not_set() {
        let both = [
            ("EXAMPLE_SECRET_OF_TEST", ""),
            ("EXAMPLE_SECRET_OF_TEST_FILE", "/nowhere"),
        ];
        assert!(read(&both).err().unwrap().contains("/nowhere"));
    }

    #[test]
    fn a_value_that_may_hold_a_secret_is_not_repeated_in_the_error() {
        #[derive(Debug, Parser)]
        struct WithUrl {
            #[arg(long, env = "QUEUE_URL_OF_TEST", hide_env_values = true)]
            queue_url: BackendUrl,
        }
        let error = WithUrl::try_parse_from(["example", "--queue-url", "\"amqp://u:hunter2@h\""]).unwrap_err();
        let sentence = without_secret(&error, <WithUrl as clap::CommandFactory>::command()).unwrap();
        assert!(
            sentence.contains("QUEUE_URL_OF_TEST") && !sentence.contains("hunter2"),
            "{sentence}"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        assert!(
            read(&[("EXAMPLE_SECRET_OF_TEST_FILE", "/nowhere")])
                .err()
                .unwrap()
                .contains("/nowhere")
        );
    }
}

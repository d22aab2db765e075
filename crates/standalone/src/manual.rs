//! What is generated from the command line's own description: man pages, shell completions, and the file of settings.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, Args as _, Command};
use clap_complete::Shell;

use crate::ServeSettings;

/// Why the man pages cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write man pages to `{directory}`")]
pub struct ManError {
    directory: PathBuf,
    #[source]
    source: io::Error,
}

/// Writes a page for `command` and one for each of its subcommands into `directory`, which must exist: `NAME.1`,
/// `NAME-SUBCOMMAND.1` and so on.
///
/// # Errors
/// A page cannot be written.
pub fn write_man_pages(command: Command, directory: &Path) -> Result<(), ManError> {
    clap_mangen::generate_to(command, directory).map_err(|source| ManError {
        directory: directory.to_owned(),
        source,
    })
}

/// The script that completes `command` in a shell.
pub fn completions(mut command: Command, shell: Shell) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// The settings of `mp3converter serve` as a file of environment variables, as systemd and `docker --env-file` read
/// them: each with its help above it, and commented out with its default.
pub fn settings_file() -> Vec<u8> {
    let mut text = "# The settings of `mp3converter serve`. Each may also be given as NAME_FILE, the path of a file\n\
                    # that holds the value, as is best for secrets.\n"
        .to_owned();
    for argument in serve().get_arguments() {
        let Some(name) = argument.get_env() else { continue };
        text.push('\n');
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().chain(choices(argument).as_deref()) {
            text.push_str(&format!("# {line}\n"));
        }
        let defaults: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        text.push_str(&format!("#{}={}\n", name.to_string_lossy(), defaults.join(",")));
    }
    text.into_bytes()
}

fn serve() -> Command {
    ServeSettings::augment_args(Command::new("serve"))
}

/// The values that an argument can have, where these are few.
fn choices(argument: &Arg) -> Option<String> {
    let values = argument.get_possible_values();
    let names: Vec<_> = values.iter().map(|value| value.get_name()).collect();
    (!names.is_empty()).then(|| format!("One of: {}.", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_settings_holds_every_variable_once_and_sets_none() {
        let file = String::from_utf8(settings_file()).unwrap();
        for argument in serve().get_arguments() {
            let name = argument.get_env().unwrap().to_string_lossy();
            let lines = file.lines().filter(|line| line.starts_with(&format!("#{name}=")));
            assert_eq!(lines.count(), 1, "{name}");
        }
        assert!(
            file.lines().all(|line| line.is_empty() || line.starts_with('#')),
            "{file}"
        );
        assert!(file.contains("\n#MP3_LISTEN=127.0.0.1:8080\n"), "{file}");
    }

    #[test]
    fn man_pages_and_completions_name_the_settings() {
        let scratch = tempfile::tempdir().unwrap();
        let command = Command::new("mp3converter").subcommand(serve());
        write_man_pages(command.clone(), scratch.path()).unwrap();
        let page = std::fs::read_to_string(scratch.path().join("mp3converter-serve.1")).unwrap();
        assert!(page.contains("MP3_LISTEN"), "{page}");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(command.clone(), shell)).unwrap();
            assert!(script.contains("public-url"), "{shell}: {script}");
        }
    }
}

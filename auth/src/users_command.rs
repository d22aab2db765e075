//! `user ...`: how an operator keeps the accounts, whichever store they are in.

use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use domain::{Address, PortError, User, UserStore};
use runtime::settings::{EXIT_TROUBLE, EXIT_USAGE};

use crate::accounts::{self, AccountError};

/// What can be done with accounts. Passwords come from the terminal, or as one line of standard input.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum UserCommand {
    /// Adds an account; its password is asked for, or read from standard input.
    Add {
        /// The e-mail address that logs in.
        email: Address,
    },
    /// Sets a password, asked for or read from standard input. Tokens issued before are void within a minute.
    Passwd {
        /// Whose.
        email: Address,
    },
    /// Lists the accounts.
    List,
    /// Keeps an account from logging in. Its tokens are void within a minute; its jobs and files stay.
    Disable {
        /// Whose.
        email: Address,
    },
    /// Lets a disabled account log in again.
    Enable {
        /// Whose.
        email: Address,
    },
    /// Removes an account. Its jobs and files stay.
    Remove {
        /// Whose.
        email: Address,
    },
    /// Hashes every password that the original system stored as it is.
    MigratePasswords,
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("there is no account {0}")]
    NoAccount(Address),
    #[error("there is an account {0} already")]
    Taken(Address),
    #[error("the two passwords differ")]
    Differ,
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Store(#[from] PortError),
    #[error("cannot read the password")]
    Input(#[source] io::Error),
    #[error("cannot write")]
    Output(#[from] io::Error),
}

/// Runs a command, reports on standard output or standard error, and gives the exit status: 0, 64 when the operator can
/// mend it, 70 when the store is in trouble.
pub async fn run(command: UserCommand, store: Arc<dyn UserStore>) -> ExitCode {
    let outcome = perform(command, &*store, read_password, &mut io::stdout()).await;
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // Nothing is left to do when standard error is closed.
    let _closed = writeln!(io::stderr(), "error: {}", runtime::settings::chain(&error));
    ExitCode::from(match error {
        CommandError::Store(_) | CommandError::Account(AccountError::Store(_)) | CommandError::Output(_) => {
            EXIT_TROUBLE
        }
        _ => EXIT_USAGE,
    })
}

async fn perform(
    command: UserCommand,
    store: &dyn UserStore,
    password: impl FnOnce() -> Result<String, CommandError>,
    output: &mut impl Write,
) -> Result<(), CommandError> {
    match command {
        UserCommand::Add { email } => {
            // Asked first, so that nobody types a password for nothing.
            if store.find(&email).await?.is_some() {
                return Err(CommandError::Taken(email));
            }
            match accounts::create(store, &email, &password()?).await {
                Err(AccountError::Store(PortError::Conflict { .. })) => return Err(CommandError::Taken(email)),
                created => created?,
            }
            writeln!(output, "added {email}")?;
        }
        UserCommand::Passwd { email } => {
            if store.find(&email).await?.is_none() {
                return Err(CommandError::NoAccount(email));
            }
            let changed = accounts::set_password(store, &email, &password()?).await?;
            confirm(changed, "changed the password of", email, output)?;
        }
        UserCommand::List => list(&store.list().await?, output)?,
        UserCommand::Disable { email } => {
            confirm(store.set_disabled(&email, true).await?, "disabled", email, output)?;
        }
        UserCommand::Enable { email } => {
            confirm(store.set_disabled(&email, false).await?, "enabled", email, output)?;
        }
        UserCommand::Remove { email } => confirm(store.remove(&email).await?, "removed", email, output)?,
        UserCommand::MigratePasswords => migrate_passwords(store, output).await?,
    }
    Ok(())
}

fn confirm(changed: bool, what: &str, email: Address, output: &mut impl Write) -> Result<(), CommandError> {
    if !changed {
        return Err(CommandError::NoAccount(email));
    }
    writeln!(output, "{what} {email}")?;
    Ok(())
}

/// One line an account: id, address, state, how its password is stored; separated by tabs.
fn list(users: &[User], output: &mut impl Write) -> io::Result<()> {
    for user in users {
        let state = if user.disabled_at.is_some() {
            "disabled"
        } else {
            "enabled"
        };
        let password = match user.password.as_str() {
            "" => "no password",
            hash if hash.starts_with('$') => "hashed",
            _ => "plain text",
        };
        writeln!(output, "{}\t{}\t{state}\t{password}", user.id, user.email)?;
    }
    Ok(())
}

async fn migrate_passwords(store: &dyn UserStore, output: &mut impl Write) -> Result<(), CommandError> {
    let (mut hashed, mut kept) = (0, 0);
    for user in store.list().await? {
        if user.password.starts_with('$') {
            continue;
        }
        let hash = match accounts::hash(&user.password).await {
            Ok(hash) => hash,
            Err(AccountError::Password(reason)) => {
                writeln!(output, "left {} as it is: {reason}", user.email)?;
                kept += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // Where it was changed meanwhile, whoever changed it hashed it.
        if store.rehash(&user.email, &user.password, &hash).await? {
            hashed += 1;
        }
    }
    writeln!(output, "hashed {hashed} passwords, left {kept}")?;
    Ok(())
}

/// From the terminal, twice and unseen; else the first line of standard input.
fn read_password() -> Result<String, CommandError> {
    if io::stdin().is_terminal() {
        let first = rpassword::prompt_password("Password: ").map_err(CommandError::Input)?;
        let second = rpassword::prompt_password("Again: ").map_err(CommandError::Input)?;
        return if first == second {
            Ok(first)
        } else {
            Err(CommandError::Differ)
        };
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(CommandError::Input)?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

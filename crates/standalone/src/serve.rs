//! `mp3converter serve`: the suite in one process, and what the first start shows.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use adapters::ConnectError;
use auth::accounts;
use domain::{Address, BackendUrl};
use runtime::Lifecycle;
use runtime::settings::{self, EXIT_TROUBLE, Secret};

use crate::data_dir::{self, DataDir};
use crate::settings::ServeSettings;
use crate::stack::{Services, Stack, StackError};

/// How long work in hand may go on after the first signal.
const GRACE: Duration = Duration::from_secs(30);
/// The account that the first start makes when none is asked for.
const FIRST_ACCOUNT: &str = "admin@localhost";

/// The login that a first start made.
enum FirstLogin {
    /// To be shown: the password is nowhere else.
    Shown { email: Address, password: String },
    /// Kept in a file, because nobody watches.
    Kept { path: PathBuf },
    /// None was made.
    Known { email: Option<Address> },
}

/// Serves until a signal.
pub async fn run(serve: ServeSettings) -> ExitCode {
    let data = DataDir::open(&serve.stores.data_dir).unwrap_or_else(|error| settings::refuse(settings::chain(&error)));
    let _lock = data
        .lock()
        .unwrap_or_else(|error| settings::refuse(settings::chain(&error)));
    let admin = serve
        .accounts
        .admin
        .account()
        .unwrap_or_else(|message| settings::refuse(message));
    let life = Lifecycle::new();
    let stack = match Stack::start(&serve, &Services::ALL, &data, &life).await {
        Ok(stack) => stack,
        Err(error @ (StackError::DataDir(_) | StackError::Connect(ConnectError::Io { .. }))) => return trouble(&error),
        Err(error) => settings::refuse(settings::chain(&error)),
    };
    let login = match first_login(admin, &stack, &data).await {
        Ok(login) => login,
        Err(error) => return trouble(&*error),
    };
    if let Err(error) = welcome(&serve, &stack, &data, &login) {
        tracing::debug!(%error, "cannot write to standard output");
    }
    life.run_until_signal(GRACE).await
}

fn trouble(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    tracing::error!("{}", settings::chain(error));
    ExitCode::from(EXIT_TROUBLE)
}

/// Makes the account that was asked for, or the first one when there is none at all.
async fn first_login(
    admin: Option<(Address, Secret)>,
    stack: &Stack,
    data: &DataDir,
) -> Result<FirstLogin, Box<dyn std::error::Error>> {
    if let Some((email, password)) = admin {
        accounts::create_if_missing(&*stack.users, &email, password.expose()).await?;
        return Ok(FirstLogin::Known { email: Some(email) });
    }
    if let Some(first) = stack.users.list().await?.into_iter().next() {
        return Ok(FirstLogin::Known {
            email: Some(first.email),
        });
    }
    let email: Address = FIRST_ACCOUNT.parse()?;
    let password = data_dir::random_password();
    if io::stdout().is_terminal() {
        accounts::create_if_missing(&*stack.users, &email, &password).await?;
        return Ok(FirstLogin::Shown { email, password });
    }
    // The file first: an account whose password nobody knows would keep everybody out.
    let path = data.keep_secret("first-login", &format!("{email}:{password}\n"))?;
    accounts::create_if_missing(&*stack.users, &email, &password).await?;
    Ok(FirstLogin::Kept {
        path: std::path::absolute(path)?,
    })
}

/// Says where everything is and how to begin, in lines to paste.
fn welcome(serve: &ServeSettings, stack: &Stack, data: &DataDir, login: &FirstLogin) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Some(address) = stack.gateway else { return Ok(()) };
    writeln!(
        out,
        "mp3converter {} is listening on http://{address}",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out, "data directory: {}", data.path().display())?;
    if let Some(url) = serve.mail(data).smtp_url {
        writeln!(out, "mail: {}", place_of(&url))?;
    }
    let user = match login {
        FirstLogin::Shown { email, password } => {
            writeln!(out, "first login: {email} with the password {password}")?;
            format!("{email}:{password}")
        }
        FirstLogin::Kept { path } => {
            writeln!(out, "first login: in {}", path.display())?;
            format!("$(cat '{}')", path.display())
        }
        FirstLogin::Known { email: Some(email) } => format!("{email}:PASSWORD"),
        FirstLogin::Known { email: None } => "EMAIL:PASSWORD".to_owned(),
    };
    let quote = if user.starts_with('$') { '"' } else { '\'' };
    writeln!(out, "\nLog in, upload, and download with the id from the mail:\n")?;
    writeln!(
        out,
        "TOKEN=$(curl -s -X POST -u {quote}{user}{quote} http://{address}/login)"
    )?;
    writeln!(
        out,
        "curl -H \"Authorization: Bearer $TOKEN\" -F file=@video.mp4 http://{address}/upload"
    )?;
    writeln!(
        out,
        "curl -H \"Authorization: Bearer $TOKEN\" -OJ \"http://{address}/download?fid=FID\""
    )?;
    writeln!(out)?;
    out.flush()
}

fn place_of(mail: &BackendUrl) -> String {
    match mail.scheme() {
        "file" => format!("one file each in {}", mail.path()),
        _ => mail.to_string(),
    }
}

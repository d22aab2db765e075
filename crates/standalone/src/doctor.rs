//! `mp3converter doctor`: is everything there, and what to do if not.

use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use domain::PortError;
use media::child::{Child, Program};
use runtime::settings::{self, EXIT_TROUBLE};

use crate::data_dir::DataDir;
use crate::settings::StoreSettings;

/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a check found: a line to show, or what is wrong and the way out.
type Finding = Result<String, (String, &'static str)>;

/// Checks each dependency in turn, prints a line for each, and fails when one is missing.
pub async fn run(stores: &StoreSettings) -> ExitCode {
    let mut findings = vec![("data directory", data_directory(&stores.data_dir))];
    if let Ok(data) = DataDir::open(&stores.data_dir) {
        findings.push(("accounts", {
            let url = stores.users(&data);
            match adapters::users::connect(&url) {
                Ok(users) => {
                    answer(
                        users.ping(),
                        url.to_string(),
                        "start the database, or correct USERS_URL",
                    )
                    .await
                }
                Err(error) => Err((settings::chain(&error), "correct USERS_URL")),
            }
        }));
        findings.push(("job records", {
            let url = stores.jobs(&data);
            match adapters::jobs::connect(&url) {
                Ok(jobs) => answer(jobs.ping(), url.to_string(), "start the server, or correct JOBS_URL").await,
                Err(error) => Err((settings::chain(&error), "correct JOBS_URL")),
            }
        }));
        findings.push(("files", {
            let url = stores.blobs(&data);
            match adapters::blobs::connect(&url) {
                Ok(blobs) => answer(blobs.ping(), url.to_string(), "start the server, or correct BLOBS_URL").await,
                Err(error) => Err((settings::chain(&error), "correct BLOBS_URL")),
            }
        }));
    }
    findings.push(("broker", {
        let url = &stores.queue_url;
        match adapters::queue::connect(url) {
            Ok(queue) => broker(&*queue, url.to_string()).await,
            Err(error) => Err((settings::chain(&error), "correct QUEUE_URL")),
        }
    }));
    findings.push(("engine", engine()));
    match print(&mut io::stdout().lock(), &findings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::from(EXIT_TROUBLE),
    }
}

/// Prints a line for each finding and says whether all is well.
fn print(out: &mut dyn Write, findings: &[(&str, Finding)]) -> io::Result<bool> {
    for (name, finding) in findings {
        match finding {
            Ok(found) => writeln!(out, "ok       {name:<15} {found}")?,
            Err((wrong, way_out)) => {
                writeln!(out, "missing  {name:<15} {wrong}")?;
                writeln!(out, "         {:<15} -> {way_out}", "")?;
            }
        }
    }
    Ok(findings.iter().all(|(_, finding)| finding.is_ok()))
}

fn data_directory(path: &Path) -> Finding {
    let way_out = "make it writable for this user, or set MP3_DATA_DIR to another directory";
    let data = DataDir::open(path).map_err(|error| (settings::chain(&error), way_out))?;
    tempfile::tempfile_in(data.path()).map_err(|error| (error.to_string(), way_out))?;
    let in_use = if data.lock().is_err() {
        ", in use by a running serve"
    } else {
        ""
    };
    Ok(format!("{}{in_use}", data.path().display()))
}

/// A broker connects in the background, so its first answers may come too early.
async fn broker(queue: &dyn domain::Queue, place: String) -> Finding {
    let up = async {
        while queue.ping().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    answer(
        up,
        place,
        "start the broker, or correct QUEUE_URL; uploads are taken without it, and wait",
    )
    .await
}

async fn answer(ping: impl Future<Output = Result<(), PortError>>, place: String, way_out: &'static str) -> Finding {
    match tokio::time::timeout(PATIENCE, ping).await {
        Ok(Ok(())) => Ok(place),
        Ok(Err(error)) => Err((format!("{place}: {}", settings::chain(&error)), way_out)),
        Err(_) => Err((format!("{place}: no answer in {} seconds", PATIENCE.as_secs()), way_out)),
    }
}

/// Converts a tenth of a second of silence, which shows that the libraries and the encoder work, in a child, which
/// shows how far this kernel locks it down.
fn engine() -> Finding {
    let samples = 800_u32;
    let mut wav = Vec::with_capacity(44 + 1600);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + samples * 2).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend_from_slice(&8000_u32.to_le_bytes());
    wav.extend_from_slice(&16_000_u32.to_le_bytes());
    wav.extend_from_slice(b"\x02\0\x10\0data");
    wav.extend_from_slice(&(samples * 2).to_le_bytes());
    wav.resize(44 + 1600, 0);
    let source = media::Source::seekable(io::Cursor::new(wav));
    let settings = media::Settings::default();
    let converted = Child::start(&Program::this()).and_then(|mut child| {
        let missing = child.wait_until_ready()?.to_vec();
        let go_on = |_| std::ops::ControlFlow::Continue(());
        let converted = child.convert(source, &mut io::sink(), &settings, go_on);
        converted.map(|_| missing).map_err(io::Error::other)
    });
    match converted {
        Ok(missing) if missing.is_empty() => Ok("libav decodes, LAME encodes, in a locked-down process".to_owned()),
        Ok(missing) => {
            let names: Vec<&str> = missing.iter().map(|layer| layer.name()).collect();
            Ok(format!(
                "libav decodes, LAME encodes; this kernel lacks for its lock-down: {}",
                names.join(", ")
            ))
        }
        Err(error) => Err((
            runtime::settings::chain(&error),
            "reinstall FFmpeg's libraries (libavformat, libavcodec, libswresample)",
        )),
    }
}

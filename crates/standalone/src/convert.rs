//! `mp3converter convert IN OUT`: one file, no services.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Seek as _, SeekFrom, Write as _};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use domain::{OptionName, Options};
use indicatif::{ProgressBar, ProgressStyle};
use media::child::{Child, Program};
use media::{ConvertError, Source};

use crate::output::Output;

/// Converts one file.
///
/// OUT is written beside itself and put in place when it is complete; on failure an old OUT stays as it was.
#[derive(Debug, Args)]
pub struct ConvertCommand {
    /// The video or audio file; `-` is standard input.
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The MP3; `-` is standard output.
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Variable bitrate, 0 (best) to 9 (smallest); the default is 2, but for sound that is MP3 already: it is copied as
    /// it is where neither a bitrate, a quality, channels nor a rate is given.
    #[arg(long, value_name = "N", conflicts_with = "bitrate", value_parser = value_of(OptionName::Vbr))]
    vbr: Option<String>,
    /// Constant bitrate in kbit/s, 32 to 320.
    #[arg(long, value_name = "KBPS", value_parser = value_of(OptionName::Bitrate))]
    bitrate: Option<String>,
    /// LAME's effort, 0 (slowest, best) to 9.
    #[arg(long, value_name = "N", value_parser = value_of(OptionName::Quality))]
    quality: Option<String>,
    /// 1 (mono) or 2 (stereo).
    #[arg(long, value_name = "N", value_parser = value_of(OptionName::Channels))]
    channels: Option<String>,
    /// Sample rate in Hz, 8000 to 48000.
    #[arg(long, value_name = "HZ", value_parser = value_of(OptionName::Rate))]
    rate: Option<String>,
    /// The audio track: a number, 0 being the first, a language such as `deu`, or `all` of them mixed together.
    #[arg(long, value_name = "N|LANG|all", value_parser = value_of(OptionName::Track))]
    track: Option<String>,
    /// Where to begin, as a player shows the time: seconds such as 90.5, MM:SS or HH:MM:SS.mmm.
    #[arg(long, value_name = "TIME", value_parser = value_of(OptionName::Start))]
    start: Option<String>,
    /// Where to end, after --start, written alike.
    #[arg(long, value_name = "TIME", value_parser = value_of(OptionName::End))]
    end: Option<String>,
    /// Where the file has no sound, before it or between: `silence`, so that the MP3 runs with its video, or `drop`, as
    /// ffmpeg does [default: silence].
    #[arg(long, value_name = "WHAT", value_parser = value_of(OptionName::Gaps))]
    gaps: Option<String>,
    /// How many threads encode, at most 16; the MP3 is the same with any number. The default is as many as there are
    /// processors.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Say on standard error what was read, what came out, what was done beyond the plain case, and how long the
    /// conversion took: as one line of JSON, or as text for people.
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "json")]
    report: Option<ReportForm>,
}

/// How a conversion is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ReportForm {
    /// One line of JSON.
    Json,
    /// Lines of text.
    Text,
}

/// Why a conversion on the command line failed.
#[derive(Debug, thiserror::Error)]
pub enum ConvertCommandError {
    /// The media is at fault: the verdict is for the user.
    #[error("{0}")]
    Verdict(media::Verdict),
    /// IN cannot be read.
    #[error("cannot read `{path}`")]
    Input {
        /// What was to be read.
        path: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// OUT cannot be written.
    #[error("cannot write `{path}`")]
    Output {
        /// What was to be written.
        path: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The options exclude each other.
    #[error(transparent)]
    Option(#[from] domain::InvalidOption),
    /// There is no process to convert in.
    #[error("cannot start a process to convert in")]
    Child(#[source] io::Error),
    /// The engine failed.
    #[error("the conversion failed")]
    Engine(#[source] ConvertError),
}

/// Accepts what `Options` accepts, so that the command line and a form field mean the same.
fn value_of(name: OptionName) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static {
    move |text| {
        let checked = Options::default().set(name, text);
        checked
            .map(|()| text.to_owned())
            .map_err(|_| format!("expected {}", name.expected()))
    }
}

impl ConvertCommand {
    /// Converts, with a progress bar on a terminal.
    ///
    /// # Errors
    /// See [`ConvertCommandError`]; OUT is untouched then.
    pub fn run(&self) -> Result<(), ConvertCommandError> {
        let mut settings = self.settings()?;
        // First of all, so that it gets ready meanwhile.
        let mut child = start_child()?;
        let input_error = |source| ConvertCommandError::Input {
            path: self.input.display().to_string(),
            source,
        };
        let input = self.open().map_err(input_error)?;
        let source = || input.try_clone().map(Source::seekable).map_err(input_error);
        let output_error = |source| ConvertCommandError::Output {
            path: self.output.display().to_string(),
            source,
        };
        let output = Output::named(&self.output).map_err(output_error)?;
        let mut sink = output.scratch().map_err(output_error)?;

        child.wait_until_ready().map_err(ConvertCommandError::Child)?;
        let begun = Instant::now();
        let bar = progress_bar();
        let moving_bar = bar.clone();
        let watch = move |progress: media::Progress| {
            moving_bar.set_position(permille(progress.share()));
            ControlFlow::Continue(())
        };
        let mut converted = child.convert(source()?, sink.as_file_mut(), &settings, watch.clone());
        while let Err(ConvertError::BeginAnew(why)) = &converted
            && let Some(again) = settings.anew(*why)
        {
            settings = again;
            let file = sink.as_file_mut();
            file.set_len(0).and_then(|()| file.rewind()).map_err(output_error)?;
            converted = start_child()?.convert(source()?, file, &settings, watch.clone());
        }
        let took = begun.elapsed();
        let converted = converted.map_err(|error| match error {
            ConvertError::Verdict(verdict) => ConvertCommandError::Verdict(verdict),
            ConvertError::Read(source) => input_error(source),
            ConvertError::Write(source) => output_error(source),
            other => ConvertCommandError::Engine(other),
        })?;
        sink.as_file_mut()
            .seek(SeekFrom::Start(converted.head_at))
            .and_then(|_| sink.as_file_mut().write_all(&converted.head))
            .map_err(output_error)?;
        output.complete(sink).map_err(output_error)?;
        bar.finish_and_clear();
        match self.report {
            Some(ReportForm::Json) => tell(&report(&converted, took)),
            Some(ReportForm::Text) => tell(&report_text(&converted, took)),
            None => {}
        }
        Ok(())
    }

    fn settings(&self) -> Result<media::Settings, ConvertCommandError> {
        let mut options = Options::default();
        let given = [
            (OptionName::Vbr, &self.vbr),
            (OptionName::Bitrate, &self.bitrate),
            (OptionName::Quality, &self.quality),
            (OptionName::Channels, &self.channels),
            (OptionName::Rate, &self.rate),
            (OptionName::Track, &self.track),
            (OptionName::Start, &self.start),
            (OptionName::End, &self.end),
            (OptionName::Gaps, &self.gaps),
        ];
        for (name, text) in given {
            if let Some(text) = text {
                options.set(name, text)?;
            }
        }
        let named = Some(&self.input).filter(|input| !is_dash(input));
        let filename = named.and_then(|input| input.file_name()).map(displayed);
        Ok(media::Settings {
            threads: self.threads,
            ..converter::media_settings(&options.validated()?, filename)
        })
    }

    /// The input as something that can seek: containers keep their index at either end, so a pipe is spooled.
    fn open(&self) -> io::Result<File> {
        if is_dash(&self.input) {
            return spooled(&mut io::stdin().lock());
        }
        let mut file = File::open(&self.input)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if kind.is_fifo() {
            return spooled(&mut file);
        }
        Ok(file)
    }
}

fn start_child() -> Result<Child, ConvertCommandError> {
    Child::start(&Program::this()).map_err(ConvertCommandError::Child)
}

#[expect(clippy::print_stderr, reason = "what --report is for")]
fn tell(report: &dyn std::fmt::Display) {
    eprintln!("{report}");
}

fn report(converted: &media::Converted, took: Duration) -> serde_json::Value {
    serde_json::json!({
        "seconds": converted.duration.as_secs_f64(),
        "size_bytes": converted.size_bytes,
        "sample_rate_hz": converted.sample_rate_hz,
        "channels": converted.channels,
        "bytes_read": converted.bytes_read,
        "source_bytes": converted.source_bytes,
        "errors": converted.errors,
        "track": converted.track,
        "notes": converted.notes.iter().map(converter::note).collect::<Vec<_>>(),
        "took_seconds": took.as_secs_f64(),
    })
}

/// The name of a file as text: what is not UTF-8 is from a system that wrote Latin-1.
fn displayed(name: &OsStr) -> String {
    let latin = || name.as_bytes().iter().copied().map(char::from).collect();
    name.to_str().map_or_else(latin, str::to_owned)
}

fn report_text(converted: &media::Converted, took: Duration) -> String {
    let channels = if converted.channels == 1 { "mono" } else { "stereo" };
    let mut text = format!(
        "{:.3} s of sound, {channels}, {} Hz, {} bytes, made in {:.3} s.",
        converted.duration.as_secs_f64(),
        converted.sample_rate_hz,
        converted.size_bytes,
        took.as_secs_f64()
    );
    for note in &converted.notes {
        text.push('\n');
        text.push_str(&note.to_string());
    }
    text
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn spooled(pipe: &mut dyn Read) -> io::Result<File> {
    let mut spool = tempfile::tempfile()?;
    io::copy(pipe, &mut spool)?;
    spool.seek(SeekFrom::Start(0))?;
    Ok(spool)
}

fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(1000);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}% {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
fn permille(share: f32) -> u64 {
    (share.clamp(0.0, 1.0) * 1000.0) as u64
}

//! What crosses to the child and back.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;

use media::child::{Child, Program};
use media::{ConvertError, Converted, Progress, Rate, Settings, Source};
use testkit::media::{sample, samples};

use crate::processes::as_nobody;

pub(crate) fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn child() -> Child {
    Child::start(&Program::this()).unwrap()
}

pub(crate) fn settings_for(path: &Path) -> Settings {
    Settings {
        file_name: Some(path.file_name().unwrap().to_string_lossy().into_owned()),
        ..Settings::default()
    }
}

/// What a conversion gives, in a form that can be compared.
fn outcome(result: Result<Converted, ConvertError>, mp3: Vec<u8>) -> Result<(Converted, Vec<u8>), String> {
    result
        .map(|converted| (converted, mp3))
        .map_err(|error| format!("{error:?}"))
}

fn here(source: Source, settings: &Settings) -> Result<(Converted, Vec<u8>), String> {
    let mut mp3 = Vec::new();
    outcome(media::convert(source, &mut mp3, settings, go_on), mp3)
}

fn there(source: Source, settings: &Settings) -> Result<(Converted, Vec<u8>), String> {
    let mut mp3 = Vec::new();
    outcome(child().convert(source, &mut mp3, settings, go_on), mp3)
}

pub(crate) fn every_sample_gives_the_bytes_it_gives_without_a_child() {
    for sample in samples() {
        let settings = settings_for(&sample.path);
        let source = || Source::seekable(File::open(&sample.path).unwrap());
        assert!(
            here(source(), &settings) == there(source(), &settings),
            "{}",
            sample.name
        );
    }
}

pub(crate) fn a_pipe_gives_the_same_bytes_too() {
    for name in ["mkv-h264-opus", "wav-44100", "ogg-opus-mono"] {
        let path = sample(name);
        let settings = settings_for(&path);
        let source = || Source::stream(File::open(&path).unwrap());
        let there = there(source(), &settings);
        assert!(there.is_ok());
        assert!(here(source(), &settings) == there, "{name}");
    }
}

pub(crate) fn a_verdict_comes_back_as_it_is() {
    for path in [
        testkit::media::without_audio(),
        testkit::media::without_index(),
        testkit::media::garbage(),
        testkit::media::empty(),
        testkit::media::text(),
    ] {
        let settings = settings_for(&path);
        let source = || Source::seekable(File::open(&path).unwrap());
        let there = there(source(), &settings);
        assert!(
            there.as_ref().is_err_and(|error| error.starts_with("Verdict")),
            "{there:?}"
        );
        assert_eq!(here(source(), &settings), there);
    }
}

/// Gives a file's first half.
struct Burning(Cursor<Vec<u8>>);

impl Read for Burning {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.position() >= self.0.get_ref().len() as u64 / 2 {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the store is on fire"));
        }
        self.0.read(buffer)
    }
}

impl Seek for Burning {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

pub(crate) fn the_sources_error_comes_back_with_its_text() {
    let path = sample("wav-44100");
    let burning = || Burning(Cursor::new(fs::read(&path).unwrap()));
    for source in [Source::seekable(burning()), Source::stream(burning())] {
        match child().convert(source, &mut io::sink(), &settings_for(&path), go_on) {
            Err(ConvertError::Read(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                assert_eq!(error.to_string(), "the store is on fire");
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn the_sinks_error_comes_back_with_its_text() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::StorageFull, "not a byte more"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let path = sample("wav-44100");
    let source = Source::seekable(File::open(&path).unwrap());
    match child().convert(source, &mut Full, &settings_for(&path), go_on) {
        Err(ConvertError::Write(error)) => assert_eq!(error.to_string(), "not a byte more"),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_setting_out_of_range_is_refused_by_name() {
    let settings = Settings {
        rate: Some(Rate::Vbr(10)),
        ..Settings::default()
    };
    let refused = child().convert(Source::stream(io::empty()), &mut io::sink(), &settings, go_on);
    assert!(matches!(refused, Err(ConvertError::Settings { field: "rate" })));
}

pub(crate) fn a_file_that_needs_seeking_is_told_from_a_damaged_one() {
    // The sample's index is where the muxer puts it by itself: at the end.
    let path = sample("mp4-h264-aac");
    let settings = settings_for(&path);
    let source = || Source::stream(File::open(&path).unwrap());
    let there = there(source(), &settings);
    assert_eq!(there, Err("NeedsSeeking".to_owned()));
    assert_eq!(here(source(), &settings), there);
}

pub(crate) fn progress_is_told_and_only_grows() {
    let path = sample("mp4-h264-aac");
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let source = Source::seekable(File::open(&path).unwrap());
    let converted = child()
        .convert(source, &mut io::sink(), &settings_for(&path), move |progress| {
            listener.lock().unwrap().push(progress);
            ControlFlow::Continue(())
        })
        .unwrap();
    let told = told.lock().unwrap();
    let last = told.last().unwrap();
    assert_eq!(last.source_bytes, Some(fs::metadata(&path).unwrap().len()));
    assert_eq!(last.bytes_read, converted.bytes_read);
    assert!(told.is_sorted_by_key(|progress| progress.position));
    assert!(last.duration.is_some());
}

pub(crate) fn several_children_work_side_by_side() {
    let path = sample("mp4-h264-aac");
    let settings = settings_for(&path);
    let expected = here(Source::seekable(File::open(&path).unwrap()), &settings);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let source = Source::seekable(File::open(&path).unwrap());
                assert!(there(source, &settings) == expected);
            });
        }
    });
}

pub(crate) fn a_child_outlives_the_thread_that_started_it() {
    let child = thread::spawn(child).join().unwrap();
    let path = sample("wav-44100");
    let source = Source::seekable(File::open(&path).unwrap());
    child
        .convert(source, &mut io::sink(), &settings_for(&path), go_on)
        .unwrap();
}

/// A second of a rising sawtooth.
fn wav() -> Vec<u8> {
    let samples: Vec<u8> = (0..8000_u16)
        .flat_map(|sample| (sample % 800 * 16).to_le_bytes())
        .collect();
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data".to_vec();
    wav.extend_from_slice(&16_000_u32.to_le_bytes());
    wav.extend_from_slice(&samples);
    wav
}

/// Converts in a child of its own and prints the result's length: for another user.
pub(crate) fn convert_here() -> ExitCode {
    let mut child = child();
    let missing = child.wait_until_ready().unwrap().to_vec();
    let mut mp3 = Vec::new();
    let source = Source::seekable(Cursor::new(wav()));
    child.convert(source, &mut mp3, &Settings::default(), go_on).unwrap();
    println!("{} bytes, missing {missing:?}", mp3.len());
    ExitCode::SUCCESS
}

pub(crate) fn nobody_can_convert_too() {
    let output = as_nobody("convert-here").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, mp3) = here(Source::seekable(Cursor::new(wav())), &Settings::default()).unwrap();
    let expected = format!("{} bytes, missing []\n", mp3.len());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

pub(crate) fn the_same_file_gives_the_same_mp3() {
    for sample in samples() {
        let mp3s = [(), ()].map(|()| {
            let mut mp3 = Vec::new();
            let source = Source::seekable(File::open(&sample.path).unwrap());
            child()
                .convert(source, &mut mp3, &settings_for(&sample.path), go_on)
                .unwrap();
            mp3
        });
        assert!(mp3s[0] == mp3s[1], "{}", sample.name);
    }
}

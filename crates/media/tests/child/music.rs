//! Music that is made while it plays: by libraries that hold the whole file in memory, and, some of it, without end.

use std::fs::{self, File};
use std::io;
use std::time::Duration;

use media::child::{Child, Program};
use media::{ConvertError, Converted, Limits, Settings, Source, Verdict};

use crate::conversions::{go_on, settings_for};

fn convert(path: &std::path::Path, limits: Limits) -> Result<Converted, ConvertError> {
    let settings = Settings {
        limits,
        ..settings_for(path)
    };
    let child = Child::start(&Program::this()).unwrap();
    child.convert(
        Source::seekable(File::open(path).unwrap()),
        &mut io::sink(),
        &settings,
        go_on,
    )
}

pub(crate) fn what_plays_for_ever_is_too_long() {
    let limit = Duration::from_secs(600);
    let limits = Limits {
        duration: limit,
        ..Limits::default()
    };
    for path in testkit::media::endless() {
        match convert(&path, limits) {
            Err(ConvertError::Verdict(verdict)) => assert_eq!(verdict, Verdict::TooLong { limit }),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
}

pub(crate) fn of_what_plays_for_ever_a_part_can_be_had() {
    for path in testkit::media::endless() {
        let settings = Settings {
            end: Some(Duration::from_secs(5)),
            ..settings_for(&path)
        };
        let child = Child::start(&Program::this()).unwrap();
        let source = Source::seekable(File::open(&path).unwrap());
        let converted = child.convert(source, &mut io::sink(), &settings, go_on).unwrap();
        assert_eq!(converted.duration, Duration::from_secs(5), "{}", path.display());
    }
}

pub(crate) fn a_file_that_does_not_fit_into_its_memory_ends_in_a_verdict() {
    let folder = tempfile::tempdir().unwrap();
    for (name, length, expected) in [
        ("module", 2_u64 << 30, Verdict::Crashed),
        ("module", 600 << 20, Verdict::Crashed),
        ("console-tune", 2 << 30, Verdict::NotMedia),
    ] {
        let sample = testkit::media::sample(name);
        let path = folder.path().join(sample.file_name().unwrap());
        fs::copy(&sample, &path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(length).unwrap();
        match convert(&path, Limits::default()) {
            Err(ConvertError::Verdict(verdict)) => assert_eq!(verdict, expected, "{name} of {length} bytes"),
            other => panic!("{name} of {length} bytes: {other:?}"),
        }
    }
}

//! One file is encoded by any number of threads, and nobody can tell by how many.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use media::{Rate, Settings};

use crate::support::{convert_file, decode, frames_by_ffmpeg, settings_for};

/// Long enough for several segments.
const SECONDS: u64 = 60;

fn minute(folder: &Path, rate_hz: u32, channels: u32) -> std::path::PathBuf {
    let path = folder.join(format!("{rate_hz}-{channels}.m4a"));
    let sound = "0.3*sin(880*PI*t)+0.2*sin(2*PI*t*(300+40*t))+0.1*random(0)*lt(mod(t\\,0.7)\\,0.1)";
    testkit::media::ffmpeg(
        &format!("-f lavfi -i aevalsrc={sound}:s={rate_hz}:d={SECONDS} -ac {channels} -c:a alac"),
        &path,
    );
    path
}

#[test]
fn the_mp3_is_the_same_with_any_number_of_threads_and_as_long_as_the_source() {
    let folder = tempfile::tempdir().unwrap();
    for (rate_hz, channels, rate, numbers) in [
        (48_000, 2, Rate::Vbr(2), [2, 3, 4, 8].as_slice()),
        (44_100, 2, Rate::Cbr(128), &[2, 8]),
        (44_100, 1, Rate::Cbr(320), &[3]),
        (22_050, 2, Rate::Cbr(64), &[2]),
    ] {
        let path = minute(folder.path(), rate_hz, channels);
        let with_threads = |count| {
            let settings = Settings {
                rate: Some(rate),
                threads: NonZeroUsize::new(count),
                ..settings_for(&path)
            };
            convert_file(&path, &settings).unwrap()
        };
        let alone = with_threads(1);
        let case = format!("{rate_hz} Hz {rate:?}");
        for count in numbers {
            assert!(with_threads(*count).bytes == alone.bytes, "{case}, {count} threads");
        }
        let samples = SECONDS * u64::from(rate_hz);
        assert_eq!(alone.converted.samples, samples, "{case}");
        assert_eq!(decode(&alone.bytes).frames(), samples, "{case}");
        assert_eq!(frames_by_ffmpeg(&alone.bytes, channels as usize), samples, "{case}");
    }
}

#[test]
fn progress_is_that_of_the_encoders_and_a_cancel_while_they_work_ends_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = minute(folder.path(), 48_000, 2);
    let told = Arc::new(Mutex::new(Duration::ZERO));
    let is_cancelled = Arc::new(AtomicBool::new(false));
    let (last, cancelled) = (Arc::clone(&told), Arc::clone(&is_cancelled));
    let source = media::Source::seekable(std::fs::File::open(&path).unwrap());
    let outcome = media::convert(source, &mut Vec::new(), &settings_for(&path), move |progress| {
        assert!(!cancelled.load(Ordering::Relaxed), "nothing is asked after a cancel");
        *last.lock().unwrap() = progress.position;
        if progress.position > Duration::from_secs(SECONDS / 2) {
            cancelled.store(true, Ordering::Relaxed);
            return std::ops::ControlFlow::Break(());
        }
        std::ops::ControlFlow::Continue(())
    });
    assert!(matches!(outcome, Err(media::ConvertError::Cancelled)), "{outcome:?}");
    let stopped_at = *told.lock().unwrap();
    assert!(stopped_at < Duration::from_secs(SECONDS), "{stopped_at:?}");
}

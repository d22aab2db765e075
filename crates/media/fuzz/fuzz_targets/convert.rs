//! Any bytes end in an MP3 or an error, never in a crash, a leak or a hang. Good seeds are the files of
//! `target/sample-media`, which the tests make.
#![no_main]

use std::io::{Cursor, sink};
use std::ops::ControlFlow;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use media::{Limits, Settings, Source};

fuzz_target!(|data: &[u8]| {
    let settings = Settings {
        limits: Limits {
            duration: Duration::from_secs(60),
            output_bytes: 4 << 20,
            ..Limits::default()
        },
        ..Settings::default()
    };
    let source = Source::seekable(Cursor::new(data.to_vec()));
    // Which of the two it is does not matter here.
    let _either = media::convert(source, &mut sink(), &settings, |_| ControlFlow::Continue(()));
});

//! The conversion engine: any media with audio in, one MP3 out. libav demuxes and decodes, LAME encodes.
//!
//! Knows nothing of jobs, queues or stores. [`convert`] is synchronous: it runs on the thread that calls it, and on
//! encoders' threads that end before it returns.
//!
//! ```text
//! Source -> input (demux, decode) -> mixer (rate, channels) -> segments (LAME, on threads) -> join -> output -> sink
//!                 \-> copy, where the audio is an MP3 already ---------------------------------/      \-> head frame
//! ```
//!
//! An ID3v2 tag comes first, if there is anything to tell. The first frame after it (Xing/Info with the LAME tag) is
//! complete only at the end: its place is kept by a silent frame of the same length, and [`Converted::head`] is what
//! belongs there:
//!
//! ```no_run
//! use std::fs::File;
//! use std::io::{Seek, SeekFrom, Write};
//! use std::ops::ControlFlow;
//!
//! let mut mp3 = File::create("out.mp3")?;
//! let source = media::Source::seekable(File::open("in.mp4")?);
//! let converted = media::convert(source, &mut mp3, &media::Settings::default(), |_| ControlFlow::Continue(()))?;
//! mp3.seek(SeekFrom::Start(converted.head_at))?;
//! mp3.write_all(&converted.head)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod allowed;
mod anew;
mod boxes;
mod camera;
pub mod child;
mod choice;
mod clock;
mod convert;
mod copy;
mod cut;
mod decoder;
mod decoders;
mod decoding;
mod encoder;
mod error;
mod extent;
mod frame;
mod frame_log;
mod head;
mod input;
mod join;
mod kept;
mod language;
mod late;
mod length;
mod limiter;
mod mixer;
mod mp3;
mod output;
mod planner;
mod protection;
mod raw;
mod reader;
mod repack;
mod report;
mod schedule;
mod segments;
mod settings;
mod silence;
mod source;
mod sparse;
mod splitter;
mod tags;
mod timeline;
mod together;
mod verdict;
mod watch;
mod widening;
mod width;

pub use anew::Anew;
pub use choice::{ChosenTrack, Why};
pub use convert::{Converted, convert};
pub use error::ConvertError;
pub use report::Note;
pub use settings::{Gaps, Limits, Rate, Settings, Track};
pub use source::{ReadRanges, ReadSeek, Source};
pub use verdict::Verdict;
pub use watch::Progress;

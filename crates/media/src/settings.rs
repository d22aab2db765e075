//! What the caller wants: how the MP3 sounds, and where a conversion ends.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ConvertError;

/// The bitrates of MPEG-1 layer III, in kbit/s.
///
/// Source: ISO/IEC 11172-3 table 2.4.2.3.
pub(crate) const BITRATES_KBPS: [u16; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];

/// The sample rates of layer III, in Hz.
///
/// Source: ISO/IEC 11172-3, ISO/IEC 13818-3, and the "MPEG 2.5" extension for 8 to 12 kHz.
pub(crate) const SAMPLE_RATES_HZ: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// How the MP3 spends its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rate {
    /// Variable bitrate, LAME's V0 (best) to V9 (smallest).
    Vbr(u8),
    /// Constant bitrate in kbit/s: 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256 or 320. Where the sample
    /// rate does not allow that much (above 160 at 16 to 24 kHz, above 64 at 8 to 12 kHz), the highest it allows.
    Cbr(u16),
}

impl Default for Rate {
    fn default() -> Self {
        Self::Vbr(2)
    }
}

/// Which of a source's audio tracks is converted, or that all are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Track {
    /// The one of that number among the audio tracks, in the file's order, from 0.
    Index(u32),
    /// All that can be decoded, mixed together: each where it is in its own stereo, mono in the middle, and in time
    /// with the others by the source's clock. Pauses in one of them stay, whatever is done about pauses otherwise.
    All,
    /// The one in that language, by its ISO 639 code of two or three letters, such as "de", "deu" or "ger". Of several,
    /// the one that would be taken if there were no others.
    Language(String),
}

/// What becomes of stretches in which a source has no sound: before it, where it begins after the picture, and within
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gaps {
    /// They are silence, as the file's timestamps say, so that the MP3 runs with its video.
    #[default]
    Silence,
    /// They are left out, as by the `ffmpeg` command: sound follows sound.
    Drop,
}

/// How one file is converted. The default is V2 at LAME's own effort, with the channels and the sample rate of the
/// source as far as MP3 can carry them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How the MP3 spends its bits. None is V2, or, where the source's audio is an MP3 already and nothing else is
    /// asked of the sound (`quality`, `channels`, `sample_rate_hz`), that very MP3.
    pub rate: Option<Rate>,
    /// Encodes even what is an MP3 already.
    pub always_encode: bool,
    /// LAME's effort, 0 (slowest, best) to 9. None leaves it to LAME.
    pub quality: Option<u8>,
    /// 1 (mono) or 2 (stereo). None keeps mono, and mixes everything above stereo down to it.
    pub channels: Option<u8>,
    /// Sample rate in Hz, one that MP3 has. None takes the one nearest to the source's.
    pub sample_rate_hz: Option<u32>,
    /// Which audio track. None takes one that can be decoded, and no commentary or description while there is a main
    /// one; of several such the one that the `ffmpeg` command would.
    pub track: Option<Track>,
    /// Takes one track also where two mono ones are the left and the right side of one sound.
    pub one_track: bool,
    /// Where the MP3 begins, on the source's own clock: counted from where the first of the file's pictures and sounds
    /// begins. None is the beginning.
    pub start: Option<Duration>,
    /// Where the MP3 ends, on the same clock, after `start`. None, or a position behind the end, is the end.
    pub end: Option<Duration>,
    /// What becomes of stretches without sound.
    pub gaps: Gaps,
    /// The source's file name. Its extension is a hint to what the file is.
    pub file_name: Option<String>,
    /// The MP3's title where the source has none.
    pub title: Option<String>,
    /// How many threads encode, apart from the one that reads and decodes; more than 16 are taken for 16. The MP3 is
    /// the same with any number. None is as many as the process may use.
    pub threads: Option<NonZeroUsize>,
    /// Where a conversion ends in a verdict.
    pub limits: Limits,
}

/// What a source may not exceed; each limit has its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Playing time as decoded, or as the file states it where that is to be believed. 12 hours.
    pub duration: Duration,
    /// Audio tracks in the file. 64. Pictures, subtitles and attachments do not count.
    pub streams: u32,
    /// Channels of the chosen audio. 64, the most that libswresample mixes.
    pub channels: u32,
    /// Length of the MP3. 2 GiB: more than 12 hours at 320 kbit/s.
    pub output_bytes: u64,
    /// Time one conversion may take. 4 hours: 10 GiB from a store that gives 1 MB/s. In a child, time in which only the
    /// source or the sink were at work is no fault of the media, and ends in trouble instead of the verdict.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(12 * 3600),
            streams: 64,
            channels: 64,
            output_bytes: 2 << 30,
            time: Duration::from_secs(4 * 3600),
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), ConvertError> {
        let rate_is_good = match self.rate.unwrap_or_default() {
            Rate::Vbr(quality) => quality <= 9,
            Rate::Cbr(kbps) => BITRATES_KBPS.contains(&kbps),
        };
        let problem = if !rate_is_good {
            "rate"
        } else if self.quality.is_some_and(|quality| quality > 9) {
            "quality"
        } else if self.channels.is_some_and(|count| !matches!(count, 1 | 2)) {
            "channels"
        } else if self.sample_rate_hz.is_some_and(|hz| !SAMPLE_RATES_HZ.contains(&hz)) {
            "sample_rate_hz"
        } else if matches!(&self.track, Some(Track::Language(code)) if !is_language(code)) {
            "track"
        } else if self.end.is_some_and(|end| end <= self.start.unwrap_or_default()) {
            "end"
        } else {
            return Ok(());
        };
        Err(ConvertError::Settings { field: problem })
    }

    /// Whether an MP3 inside the source may stay as it is.
    pub(crate) fn allow_copy(&self) -> bool {
        !self.always_encode
            && self.rate.is_none()
            && self.quality.is_none()
            && self.channels.is_none()
            && self.sample_rate_hz.is_none()
    }

    /// The extension of the file name, where it can be nothing but an extension.
    pub(crate) fn extension(&self) -> Option<&str> {
        let (_, extension) = self.file_name.as_deref()?.rsplit_once('.')?;
        let plain = (1..=8).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
        plain.then_some(extension)
    }
}

/// Whether this has the form of an ISO 639 code.
fn is_language(code: &str) -> bool {
    matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_refused_by_name() {
        let cases = [
            (
                "rate",
                Settings {
                    rate: Some(Rate::Vbr(10)),
                    ..Settings::default()
                },
            ),
            (
                "rate",
                Settings {
                    rate: Some(Rate::Cbr(129)),
                    ..Settings::default()
                },
            ),
            (
                "quality",
                Settings {
                    quality: Some(10),
                    ..Settings::default()
                },
            ),
            (
                "channels",
                Settings {
                    channels: Some(3),
                    ..Settings::default()
                },
            ),
            (
                "sample_rate_hz",
                Settings {
                    sample_rate_hz: Some(96_000),
                    ..Settings::default()
                },
            ),
            (
                "track",
                Settings {
                    track: Some(Track::Language("german".to_owned())),
                    ..Settings::default()
                },
            ),
            (
                "end",
                Settings {
                    start: Some(Duration::from_secs(5)),
                    end: Some(Duration::from_secs(5)),
                    ..Settings::default()
                },
            ),
            (
                "end",
                Settings {
                    end: Some(Duration::ZERO),
                    ..Settings::default()
                },
            ),
        ];
        for (expected, settings) in cases {
            let error = settings.check().unwrap_err();
            assert!(
                matches!(error, ConvertError::Settings { field } if field == expected),
                "{error}"
            );
        }
        Settings::default().check().unwrap();
    }

    #[test]
    fn only_a_plain_extension_is_taken_from_a_file_name() {
        let extension = |name: &str| {
            let settings = Settings {
                file_name: Some(name.to_owned()),
                ..Settings::default()
            };
            settings.extension().map(str::to_owned)
        };
        assert_eq!(extension("a.b/holiday.MP4").as_deref(), Some("MP4"));
        for name in ["mp4", "x.", "x.a b", "http://host/x.a/b", "x.\0", "x.é"] {
            assert_eq!(extension(name), None, "{name:?}");
        }
    }
}

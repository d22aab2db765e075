//! How the owner wants the MP3.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Gaps, Position, Track};

/// The MP3 bitrates both parameters and defaults are taken from, in kbit/s.
///
/// Source: ISO/IEC 11172-3 table 2.4.2.3, layer III.
pub const BITRATES_KBPS: [u16; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];

/// The sample rates MP3 can have, in Hz.
///
/// Source: ISO/IEC 11172-3 (32 to 48 kHz), ISO/IEC 13818-3 (16 to 24 kHz), and the "MPEG 2.5" extension (8 to 12 kHz).
pub const SAMPLE_RATES_HZ: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// How a place on the file's clock is written.
const POSITION: &str = "seconds such as 90.5, MM:SS or HH:MM:SS.mmm";

/// How the MP3 spends its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Variable bitrate, LAME's V0 (best) to V9 (smallest).
    Vbr(u8),
    /// Constant bitrate in kbit/s, one of [`BITRATES_KBPS`].
    Cbr(u16),
}

impl Default for Rate {
    fn default() -> Self {
        Self::Vbr(2)
    }
}

/// The options of one conversion; what is `None` is left to the engine. JSON holds only what was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// VBR quality, 0 (best) to 9. Not together with `bitrate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vbr: Option<u8>,
    /// Constant bitrate in kbit/s, one of [`BITRATES_KBPS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u16>,
    /// LAME's effort, 0 (slowest, best) to 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
    /// 1 (mono) or 2 (stereo).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// Sample rate in Hz, one of [`SAMPLE_RATES_HZ`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Which audio track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<Track>,
    /// Where the MP3 begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Position>,
    /// Where the MP3 ends, after `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Position>,
    /// What becomes of stretches without sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gaps: Option<Gaps>,
}

/// The name of an option, as it is spelt in a form field and after `--` on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OptionName {
    /// `vbr`
    Vbr,
    /// `bitrate`
    Bitrate,
    /// `quality`
    Quality,
    /// `channels`
    Channels,
    /// `rate`
    Rate,
    /// `track`
    Track,
    /// `start`
    Start,
    /// `end`
    End,
    /// `gaps`
    Gaps,
}

/// The value of a known option cannot be used. The text names the option and what it accepts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad value for `{name}`: expected {expected}")]
pub struct InvalidOption {
    /// Which option.
    pub name: OptionName,
    /// What it accepts.
    pub expected: String,
}

impl OptionName {
    /// Every option, in the order of `--help`.
    pub const ALL: [Self; 9] = [
        Self::Vbr,
        Self::Bitrate,
        Self::Quality,
        Self::Channels,
        Self::Rate,
        Self::Track,
        Self::Start,
        Self::End,
        Self::Gaps,
    ];

    /// The option of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|option| option.as_str() == name)
    }

    /// The option's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vbr => "vbr",
            Self::Bitrate => "bitrate",
            Self::Quality => "quality",
            Self::Channels => "channels",
            Self::Rate => "rate",
            Self::Track => "track",
            Self::Start => "start",
            Self::End => "end",
            Self::Gaps => "gaps",
        }
    }

    /// The values the option accepts, as half a sentence.
    pub fn expected(self) -> String {
        let list = |values: &[u32]| values.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Vbr => "0 (best) to 9 (smallest), and no `bitrate` beside it".to_owned(),
            Self::Bitrate => format!("one of {} kbit/s", list(&BITRATES_KBPS.map(u32::from))),
            Self::Quality => "0 (best) to 9 (fastest)".to_owned(),
            Self::Channels => "1 (mono) or 2 (stereo)".to_owned(),
            Self::Rate => format!("one of {} Hz", list(&SAMPLE_RATES_HZ)),
            Self::Track => {
                "a number (0 is the first audio track), `all`, or a language such as `deu` or `de`".to_owned()
            }
            Self::Start => format!("{POSITION}, before `end`"),
            Self::End => format!("{POSITION}, after `start`"),
            Self::Gaps => "`silence` or `drop`".to_owned(),
        }
    }

    /// The value of a text, if the option accepts it.
    fn value<T: FromStr>(self, text: &str, accepts: impl FnOnce(&T) -> bool) -> Result<T, InvalidOption> {
        text.parse().ok().filter(accepts).ok_or_else(|| self.invalid())
    }

    fn invalid(self) -> InvalidOption {
        InvalidOption {
            name: self,
            expected: self.expected(),
        }
    }
}

impl fmt::Display for OptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Options {
    /// Reads options from pairs of name and text; white space around a value does not matter.
    ///
    /// # Errors
    /// The first value that cannot be used, or those that exclude each other.
    pub fn from_pairs(pairs: &BTreeMap<OptionName, String>) -> Result<Self, InvalidOption> {
        let mut options = Self::default();
        for (name, text) in pairs {
            options.set(*name, text)?;
        }
        options.validated()
    }

    /// Sets one option from its text.
    ///
    /// # Errors
    /// The value is not one the option accepts.
    pub fn set(&mut self, name: OptionName, text: &str) -> Result<(), InvalidOption> {
        let text = text.trim();
        match name {
            OptionName::Vbr => self.vbr = Some(name.value(text, |vbr| *vbr <= 9)?),
            OptionName::Bitrate => self.bitrate = Some(name.value(text, |kbps| BITRATES_KBPS.contains(kbps))?),
            OptionName::Quality => self.quality = Some(name.value(text, |quality| *quality <= 9)?),
            OptionName::Channels => self.channels = Some(name.value(text, |count| matches!(count, 1 | 2))?),
            OptionName::Rate => self.rate = Some(name.value(text, |hz| SAMPLE_RATES_HZ.contains(hz))?),
            OptionName::Track => self.track = Some(name.value(text, |_| true)?),
            OptionName::Start => self.start = Some(name.value(text, |_| true)?),
            OptionName::End => self.end = Some(name.value(text, |end: &Position| !end.is_beginning())?),
            OptionName::Gaps => self.gaps = Some(name.value(text, |_| true)?),
        }
        Ok(())
    }

    /// Checks what no single option shows: `vbr` and `bitrate` exclude each other, and `end` comes after `start`.
    ///
    /// # Errors
    /// `vbr` when both are set; `end` when it does not come after `start`.
    pub fn validated(self) -> Result<Self, InvalidOption> {
        if self.vbr.is_some() && self.bitrate.is_some() {
            return Err(OptionName::Vbr.invalid());
        }
        if self.end.is_some_and(|end| self.start.is_some_and(|start| end <= start)) {
            return Err(OptionName::End.invalid());
        }
        Ok(self)
    }

    /// How the MP3 spends its bits; V2 when nothing was asked for.
    pub fn bit_rate(&self) -> Rate {
        match (self.bitrate, self.vbr) {
            (Some(kbps), _) => Rate::Cbr(kbps),
            (None, Some(quality)) => Rate::Vbr(quality),
            (None, None) => Rate::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Options, InvalidOption> {
        Options::from_pairs(
            &pairs
                .iter()
                .map(|(name, text)| (OptionName::parse(name).unwrap(), (*text).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn each_option_is_read_and_nothing_set_means_v2() {
        let options = read(&[
            ("bitrate", "192"),
            ("quality", " 2 "),
            ("channels", "1"),
            ("rate", "44100"),
        ])
        .unwrap();
        assert_eq!(options.bit_rate(), Rate::Cbr(192));
        assert_eq!(
            (options.quality, options.channels, options.rate),
            (Some(2), Some(1), Some(44_100))
        );
        assert_eq!(read(&[]).unwrap().bit_rate(), Rate::Vbr(2));
    }

    #[test]
    fn a_bad_value_names_its_option() {
        for (name, text) in [
            ("vbr", "10"),
            ("bitrate", "129"),
            ("quality", "-1"),
            ("channels", "3"),
            ("rate", "44.1"),
            ("vbr", ""),
            ("track", "german"),
            ("track", "-1"),
            ("start", "soon"),
            ("start", "-1"),
            ("end", "1:60"),
            ("end", "0"),
            ("gaps", "fill"),
        ] {
            let error = read(&[(name, text)]).unwrap_err();
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn a_track_and_an_excerpt_are_read_and_written() {
        let options = read(&[("track", " DEU "), ("start", "1:02.5"), ("end", "00:02:00")]).unwrap();
        let json = r#"{"track":"deu","start":62.5,"end":120.0}"#;
        assert_eq!(serde_json::to_string(&options).unwrap(), json);
        assert_eq!(serde_json::from_str::<Options>(json).unwrap(), options);
        assert_eq!(read(&[("track", "0")]).unwrap().track, Some(Track::Index(0)));
        assert_eq!(read(&[("gaps", "drop")]).unwrap().gaps, Some(Gaps::Drop));
    }

    #[test]
    fn a_record_from_before_an_option_existed_still_reads() {
        let options: Options = serde_json::from_str(r#"{"vbr":0}"#).unwrap();
        assert_eq!(options.vbr, Some(0));
        assert_eq!((options.track, options.start, options.end), (None, None, None));
    }

    #[test]
    fn an_end_that_does_not_come_after_the_start_is_named() {
        for end in ["30", "29.999", "0:30"] {
            let error = read(&[("start", "30"), ("end", end)]).unwrap_err();
            assert_eq!(error.name, OptionName::End);
        }
        assert!(read(&[("start", "30"), ("end", "30.001")]).is_ok());
    }

    #[test]
    fn vbr_and_bitrate_exclude_each_other() {
        assert_eq!(
            read(&[("vbr", "2"), ("bitrate", "128")]).unwrap_err().name,
            OptionName::Vbr
        );
    }
}

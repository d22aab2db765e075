//! How the owner wants the MP3.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The MP3 bitrates both parameters and defaults are taken from, in kbit/s.
///
/// Source: ISO/IEC 11172-3 table 2.4.2.3, layer III.
pub const BITRATES_KBPS: [u16; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];

/// The sample rates MP3 can have, in Hz.
///
/// Source: ISO/IEC 11172-3 (32 to 48 kHz), ISO/IEC 13818-3 (16 to 24 kHz), and the "MPEG 2.5" extension (8 to 12 kHz).
pub const SAMPLE_RATES_HZ: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

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
    pub const ALL: [Self; 5] = [Self::Vbr, Self::Bitrate, Self::Quality, Self::Channels, Self::Rate];

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
        }
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
    /// The first value that cannot be used, or `vbr` and `bitrate` together.
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
        let value: u32 = text.trim().parse().map_err(|_| name.invalid())?;
        let small = u8::try_from(value).ok();
        match name {
            OptionName::Vbr => self.vbr = Some(small.filter(|v| *v <= 9).ok_or(name.invalid())?),
            OptionName::Quality => self.quality = Some(small.filter(|q| *q <= 9).ok_or(name.invalid())?),
            OptionName::Channels => {
                self.channels = Some(small.filter(|n| matches!(n, 1 | 2)).ok_or(name.invalid())?);
            }
            OptionName::Bitrate => {
                let kbps = BITRATES_KBPS.into_iter().find(|kbps| u32::from(*kbps) == value);
                self.bitrate = Some(kbps.ok_or(name.invalid())?);
            }
            OptionName::Rate => {
                self.rate = Some(
                    SAMPLE_RATES_HZ
                        .into_iter()
                        .find(|hz| *hz == value)
                        .ok_or(name.invalid())?,
                );
            }
        }
        Ok(())
    }

    /// Checks what no single option shows: `vbr` and `bitrate` exclude each other.
    ///
    /// # Errors
    /// Both are set.
    pub fn validated(self) -> Result<Self, InvalidOption> {
        if self.vbr.is_some() && self.bitrate.is_some() {
            return Err(OptionName::Vbr.invalid());
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
        ] {
            let error = read(&[(name, text)]).unwrap_err();
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn vbr_and_bitrate_exclude_each_other() {
        assert_eq!(
            read(&[("vbr", "2"), ("bitrate", "128")]).unwrap_err().name,
            OptionName::Vbr
        );
    }
}

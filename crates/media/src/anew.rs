//! What is found out only after part of an MP3 has been written, and makes another one of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Settings;

/// Why an MP3 has to be begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Anew {
    /// The MP3 in the source changes its sample rate or its channels on the way: it cannot be copied.
    Encoded,
    /// The sound begins with fewer channels or at a lower sample rate than it has later. A field is None where what was
    /// begun with is enough.
    Wider {
        /// Channels of the MP3 that holds all of the sound.
        channels: Option<u8>,
        /// Its sample rate in Hz.
        sample_rate_hz: Option<u32>,
    },
    /// What was taken for the left and the right track of one sound is stored too far apart to be read together.
    OneTrack,
}

impl fmt::Display for Anew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encoded => "the MP3 in this file changes on the way, and cannot be copied",
            Self::Wider { .. } => "the sound has more channels or a higher sample rate than it began with",
            Self::OneTrack => "the left and the right track are too far apart in the file",
        })
    }
}

impl Settings {
    /// The settings for another attempt at the same source. None where they ask for it already: that attempt would end
    /// like this one. So there are at most four further attempts, whatever they say.
    #[must_use]
    pub fn anew(&self, why: Anew) -> Option<Self> {
        let mut settings = self.clone();
        match why {
            Anew::Encoded => settings.always_encode = true,
            Anew::OneTrack => settings.one_track = true,
            Anew::Wider {
                channels,
                sample_rate_hz,
            } => {
                settings.channels = self.channels.or(channels);
                settings.sample_rate_hz = self.sample_rate_hz.or(sample_rate_hz);
            }
        }
        (settings != *self).then_some(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_found_out_there_are_at_most_four_further_attempts() {
        let wider = |channels, sample_rate_hz| Anew::Wider {
            channels,
            sample_rate_hz,
        };
        let first = Settings::default();
        assert!(first.anew(wider(None, None)).is_none());
        let second = first.anew(Anew::Encoded).unwrap();
        assert!(second.always_encode && second.anew(Anew::Encoded).is_none());
        let third = second.anew(wider(Some(2), None)).unwrap();
        assert_eq!((third.channels, third.sample_rate_hz), (Some(2), None));
        let fourth = third.anew(wider(Some(1), Some(48_000))).unwrap();
        assert_eq!((fourth.channels, fourth.sample_rate_hz), (Some(2), Some(48_000)));
        let fifth = fourth.anew(Anew::OneTrack).unwrap();
        assert!(fifth.one_track);
        for why in [
            Anew::Encoded,
            wider(Some(1), None),
            wider(Some(2), Some(44_100)),
            Anew::OneTrack,
        ] {
            assert!(fifth.anew(why).is_none(), "{why}");
        }
    }

    #[test]
    fn what_was_asked_for_stays() {
        let asked = Settings {
            channels: Some(1),
            ..Settings::default()
        };
        let why = Anew::Wider {
            channels: Some(2),
            sample_rate_hz: None,
        };
        assert!(asked.anew(why).is_none());
    }
}

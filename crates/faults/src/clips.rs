//! What is uploaded, and what must come of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use testkit::media;

use crate::random::Random;

/// One file.
#[derive(Debug)]
pub(crate) struct Clip {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// How long its MP3 must play; None for a file that no MP3 can be made of.
    pub(crate) plays: Option<Duration>,
    /// How many in a thousand uploads.
    share: u64,
}

/// Makes or finds all of them.
///
/// # Errors
/// One cannot be read.
pub(crate) fn all() -> anyhow::Result<Vec<Arc<Clip>>> {
    let sound = |name, seconds: u32, as_mp3, share| {
        let path = media::clip_of_seconds(seconds, as_mp3);
        (name, path, Some(Duration::from_secs(seconds.into())), share)
    };
    let poison = |name, path: PathBuf| (name, path, None, 10);
    let clips = [
        sound("second", 1, false, 500),
        sound("three-seconds", 3, false, 200),
        sound("ten-seconds", 10, false, 100),
        sound("minute", 60, false, 40),
        sound("minute-to-copy", 60, true, 100),
        sound("ten-minutes", 600, false, 3),
        sound("ten-minutes-to-copy", 600, true, 7),
        poison("silent-film", media::without_audio()),
        poison("noise", media::garbage()),
        poison("diary", media::text()),
        poison("nothing", media::empty()),
        poison("half-a-film", media::without_index()),
    ];
    let read = clips.into_iter().map(|(name, path, plays, share)| {
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let clip = Clip {
            name,
            bytes,
            plays,
            share,
        };
        Ok(Arc::new(clip))
    });
    read.collect()
}

/// One of them, as often as its share says.
pub(crate) fn draw<'a>(clips: &'a [Arc<Clip>], random: &mut Random) -> &'a Arc<Clip> {
    let mut lot = random.between(0, clips.iter().map(|clip| clip.share).sum());
    for clip in clips {
        match lot.checked_sub(clip.share) {
            Some(rest) => lot = rest,
            None => return clip,
        }
    }
    &clips[0]
}

//! What the converter does with a claimed job.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::{
    Blob, BlobStore, BlobWriter, Bucket, Claim, Fid, Gaps, Head, Job, Mp3, NewBlob, Note, Options, PortError, Position,
    Rate, Reason, ReasonCode, Settlement, Step, Track, Work,
};
use media::{Anew, ConvertError, Verdict};
use runtime::Announcer;
use runtime::metrics::Metrics;
use runtime::worker::{Context, Ending, Handler, Outcome};

use crate::bridge::{self, Conversion};
use crate::children::Children;
use crate::speed::Speed;

/// What becomes of a video whose MP3 is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DeleteSource {
    /// It stays.
    Never,
    /// It is deleted once the MP3 is recorded.
    Done,
}

/// The waits after trouble of our own: about a day in all.
const RETRY_DELAYS: [Duration; 11] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(4 * 60 * 60),
    Duration::from_secs(8 * 60 * 60),
    Duration::from_secs(8 * 60 * 60),
];

/// Converts claimed videos.
pub struct ConvertHandler {
    blobs: Arc<dyn BlobStore>,
    children: Children,
    threads: NonZeroUsize,
    announcer: Announcer,
    delete_source: DeleteSource,
    speed: Speed,
}

/// Why an attempt did not give an MP3.
enum Stop {
    Verdict(Verdict),
    Trouble(domain::Source),
    BeginAnew(Anew),
    Cancelled,
}

impl From<PortError> for Stop {
    fn from(error: PortError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<ConvertError> for Stop {
    fn from(error: ConvertError) -> Self {
        match error {
            ConvertError::Verdict(verdict) => Self::Verdict(verdict),
            ConvertError::BeginAnew(why) => Self::BeginAnew(why),
            ConvertError::Cancelled => Self::Cancelled,
            trouble => Self::Trouble(trouble.into()),
        }
    }
}

impl ConvertHandler {
    /// A handler that keeps its files in `blobs`, converts in `children` on so many threads, and tells `announcer`
    /// about finished MP3s. Its speed is measured in `metrics`.
    pub fn new(
        blobs: Arc<dyn BlobStore>,
        children: Children,
        threads: NonZeroUsize,
        announcer: Announcer,
        delete_source: DeleteSource,
        metrics: &Metrics,
    ) -> Self {
        Self {
            blobs,
            children,
            threads,
            announcer,
            delete_source,
            speed: Speed::measured_in(metrics),
        }
    }

    async fn convert(&self, job: &Job, mp3_fid: Fid, predecessor: Option<Fid>, context: &Context) -> Result<Mp3, Stop> {
        let begun = Instant::now();
        let stored = async {
            let (writer, converted) = self.store(job, mp3_fid, predecessor, context).await?;
            let head = Head {
                at: converted.head_at,
                bytes: converted.head.into(),
            };
            Ok((writer.finish(Some(head)).await?, converted.duration, converted.notes))
        };
        // Whatever is left in the middle ends by itself: calls of the store run on, and the writer aborts.
        let stored = context.cancelled().run_until_cancelled(stored).await;
        let (blob, duration, notes) = stored.unwrap_or(Err(Stop::Cancelled))?;
        self.speed.converted(duration, begun.elapsed());
        Ok(Mp3 {
            fid: mp3_fid,
            size_bytes: Some(blob.len_bytes),
            duration_ms: u64::try_from(duration.as_millis()).ok(),
            notes: notes.iter().map(note).collect(),
        })
    }

    /// Stores the MP3 but for its head.
    async fn store(
        &self,
        job: &Job,
        mp3_fid: Fid,
        predecessor: Option<Fid>,
        context: &Context,
    ) -> Result<(Box<dyn BlobWriter>, media::Converted), Stop> {
        let video = self
            .blobs
            .stat(Bucket::Videos, job.id)
            .await?
            .ok_or_else(|| Stop::Trouble("the video is not in the store".into()))?;
        // Not while there is nothing to make another from.
        if let Some(predecessor) = predecessor {
            self.remove(Bucket::Mp3s, predecessor).await;
        }
        let mp3 = NewBlob {
            id: mp3_fid,
            job: job.id,
            owner: job.owner.clone(),
            filename: job.mp3_filename(),
        };
        let mut settings = media::Settings {
            threads: Some(self.threads),
            ..media_settings(&job.options, job.filename.clone())
        };
        loop {
            let outcome = self.store_with(settings.clone(), &video, mp3.clone(), context).await;
            let Err(Stop::BeginAnew(why)) = outcome else {
                return outcome;
            };
            tracing::info!(%why, "the MP3 is begun anew");
            let Some(again) = settings.anew(why) else {
                return Err(Stop::BeginAnew(why));
            };
            settings = again;
        }
    }

    async fn store_with(
        &self,
        settings: media::Settings,
        video: &Blob,
        mp3: NewBlob,
        context: &Context,
    ) -> Result<(Box<dyn BlobWriter>, media::Converted), Stop> {
        let mut writer = self.blobs.put(Bucket::Mp3s, mp3).await?;
        // However this ends, the conversion does not outlive it.
        let over = context.cancelled().child_token();
        let _ended = over.clone().drop_guard();
        let conversion = bridge::start(self.children.clone(), Arc::clone(&self.blobs), video, settings, over);
        match pump(conversion, &mut *writer, context).await {
            Ok(converted) => Ok((writer, converted)),
            Err(stop) => {
                writer.abort().await;
                Err(stop)
            }
        }
    }

    async fn remove(&self, bucket: Bucket, id: Fid) {
        if let Err(error) = self.blobs.delete(bucket, id).await {
            // The janitor will find it.
            tracing::warn!(%bucket, %id, error = %domain::Chain(&error), "cannot delete a file yet");
        }
    }
}

#[async_trait]
impl Handler for ConvertHandler {
    fn step(&self) -> Step {
        Step::Convert
    }

    fn retry_delays(&self) -> &'static [Duration] {
        &RETRY_DELAYS
    }

    fn give_up(&self) -> Settlement {
        Settlement::Dead(Reason {
            code: ReasonCode::Dead,
            message: "We could not convert this file because of trouble on our side, not because of the file. \
                      It is kept, and we will try again once the trouble is found."
                .to_owned(),
        })
    }

    async fn handle(&self, claim: &Claim, context: &Context) -> Outcome {
        let Work::Convert { mp3_fid, predecessor } = claim.work else {
            return Outcome::Trouble("not a conversion".into());
        };
        #[cfg(feature = "seeded-bugs")]
        let mp3_fid = if runtime::seeded_bugs::is_on("shared-mp3-id") {
            claim.job.id
        } else {
            mp3_fid
        };
        match self.convert(&claim.job, mp3_fid, predecessor, context).await {
            #[cfg(feature = "seeded-bugs")]
            Err(Stop::Verdict(_)) if runtime::seeded_bugs::is_on("no-verdicts") => {
                Outcome::Trouble("a seeded bug".into())
            }
            Ok(mp3) => Outcome::Settle(match self.delete_source {
                DeleteSource::Never => Settlement::Converted(mp3),
                DeleteSource::Done => Settlement::ConvertedForGood(mp3),
            }),
            Err(Stop::Verdict(verdict)) => Outcome::Settle(Settlement::Failed(reason(&verdict))),
            Err(Stop::Trouble(error)) => Outcome::Trouble(error),
            Err(Stop::BeginAnew(_)) => Outcome::Trouble("the engine does not do as it was told".into()),
            Err(Stop::Cancelled) => Outcome::Stopped,
        }
    }

    async fn settled(&self, claim: &Claim, settlement: &Settlement, ending: Ending) {
        let (Settlement::Converted(mp3) | Settlement::ConvertedForGood(mp3)) = settlement else {
            return;
        };
        match ending {
            Ending::Won => {
                let job = Job {
                    mp3: Some(mp3.clone()),
                    ..claim.job.clone()
                };
                self.announcer.announce(job);
                if matches!(settlement, Settlement::ConvertedForGood(_)) {
                    self.remove(Bucket::Videos, claim.job.id).await;
                }
            }
            Ending::Lost => self.remove(Bucket::Mp3s, mp3.fid).await,
            Ending::Unknown => {}
        }
    }
}

/// Carries the MP3 from the conversion's thread into the store, to its end.
async fn pump(
    mut conversion: Conversion,
    writer: &mut dyn BlobWriter,
    context: &Context,
) -> Result<media::Converted, Stop> {
    while let Some(bytes) = conversion.mp3.recv().await {
        context.progress(conversion.progress());
        writer.write(bytes).await?;
    }
    conversion
        .result
        .await
        .map_err(|_| Stop::Trouble("the conversion's thread died".into()))?
        .map_err(Stop::from)
}

/// What the engine is asked for, given the owner's options and the upload's name, which helps it guess the format and
/// is the title of what has none.
pub fn media_settings(options: &Options, filename: Option<String>) -> media::Settings {
    media::Settings {
        // Without one, an MP3 inside the video is taken as it is.
        rate: (options.vbr.is_some() || options.bitrate.is_some()).then(|| match options.bit_rate() {
            Rate::Vbr(quality) => media::Rate::Vbr(quality),
            Rate::Cbr(kbps) => media::Rate::Cbr(kbps),
        }),
        quality: options.quality,
        channels: options.channels,
        sample_rate_hz: options.rate,
        track: options.track.clone().map(|track| match track {
            Track::Index(index) => media::Track::Index(index),
            Track::All => media::Track::All,
            Track::Language(code) => media::Track::Language(code),
        }),
        start: options.start.map(Position::from_beginning),
        end: options.end.map(Position::from_beginning),
        title: filename.as_deref().map(|name| domain::filename::stem(name).to_owned()),
        gaps: match options.gaps {
            Some(Gaps::Drop) => media::Gaps::Drop,
            Some(Gaps::Silence) | None => media::Gaps::Silence,
        },
        file_name: filename,
        ..media::Settings::default()
    }
}

/// What the engine did, as the records hold it.
pub fn note(note: &media::Note) -> Note {
    let mut details = match serde_json::to_value(note) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    details.remove("code");
    Note {
        code: note.code().to_owned(),
        message: note.to_string(),
        loss: note.is_loss(),
        details,
    }
}

fn reason(verdict: &Verdict) -> Reason {
    // The engine's codes are the records'; a test holds them together.
    let code = ReasonCode::parse(verdict.code()).unwrap_or(ReasonCode::Damaged);
    Reason {
        code,
        message: verdict.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use domain::OptionName;

    use super::*;

    #[test]
    fn the_owners_options_are_the_engines_settings() {
        let read = |pairs: &[(&str, &str)]| {
            let named = |(name, text): &(&str, &str)| (OptionName::parse(name).unwrap(), (*text).to_owned());
            let options = Options::from_pairs(&pairs.iter().map(named).collect()).unwrap();
            media_settings(&options, Some("Mr. Smith talks.mp4".to_owned()))
        };
        let (file_name, title) = (
            Some("Mr. Smith talks.mp4".to_owned()),
            Some("Mr. Smith talks".to_owned()),
        );
        let expected = media::Settings {
            rate: Some(media::Rate::Cbr(192)),
            quality: Some(3),
            channels: Some(1),
            sample_rate_hz: Some(44_100),
            track: Some(media::Track::Language("deu".to_owned())),
            start: Some(Duration::from_millis(62_500)),
            end: Some(Duration::from_secs(120)),
            gaps: media::Gaps::Drop,
            file_name: file_name.clone(),
            title: title.clone(),
            ..media::Settings::default()
        };
        let given = [
            ("bitrate", "192"),
            ("quality", "3"),
            ("channels", "1"),
            ("rate", "44100"),
            ("track", "deu"),
            ("start", "1:02.5"),
            ("end", "120"),
            ("gaps", "drop"),
        ];
        assert_eq!(read(&given), expected);
        assert_eq!(read(&[("track", "1")]).track, Some(media::Track::Index(1)));
        assert_eq!(read(&[("track", "all")]).track, Some(media::Track::All));
        let plain = media::Settings {
            file_name,
            title,
            ..media::Settings::default()
        };
        assert_eq!(read(&[]), plain);
    }

    #[test]
    fn a_note_of_the_engine_is_a_note_of_the_records() {
        let of_gaps = note(&media::Note::Gaps { count: 2, ms: 1_500 });
        let json = serde_json::json!({
            "code": "gaps",
            "message": "The file has no sound in 2 places, 1.5 s together; there is silence instead.",
            "loss": true,
            "count": 2,
            "ms": 1_500,
        });
        assert_eq!(serde_json::to_value(of_gaps).unwrap(), json);
    }

    #[test]
    fn each_verdict_of_the_engine_is_a_reason_of_the_records() {
        let limit = Duration::from_secs(1);
        let verdicts = [
            (Verdict::NoAudio, ReasonCode::NoAudio),
            (Verdict::EmptyAudio, ReasonCode::EmptyAudio),
            (
                Verdict::UnsupportedAudio { kind: "x".to_owned() },
                ReasonCode::UnsupportedAudio,
            ),
            (Verdict::Protected, ReasonCode::Protected),
            (Verdict::Damaged, ReasonCode::Damaged),
            (Verdict::NotMedia, ReasonCode::NotMedia),
            (Verdict::Empty, ReasonCode::NotMedia),
            (Verdict::TooLong { limit }, ReasonCode::TooLong),
            (
                Verdict::TooManyStreams { streams: 2, limit: 1 },
                ReasonCode::TooManyStreams,
            ),
            (
                Verdict::TooManyChannels { channels: 2, limit: 1 },
                ReasonCode::TooManyChannels,
            ),
            (Verdict::OutputTooLarge { limit_bytes: 1 }, ReasonCode::OutputTooLarge),
            (Verdict::TimeLimit { limit }, ReasonCode::TimeLimit),
        ];
        for (verdict, code) in verdicts {
            assert_eq!(ReasonCode::parse(verdict.code()), Some(code), "{verdict:?}");
        }
    }
}

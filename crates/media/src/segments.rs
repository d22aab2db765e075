//! Encoding on several threads: samples in, the streams of segments out, in order.
//!
//! Samples come in chunks. Each segment has a queue of them, begun by the end of the segment before (the warm-up) and
//! ended by the first frame of the one behind (LAME looks ahead). A thread takes the first segment that nobody encodes,
//! and encodes as its chunks arrive. A chunk belongs to up to three segments and is given back for reuse by the last.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::ConvertError;
use crate::encoder::{Encoder, Mp3Format};
use crate::frame::highest_kbps;
use crate::mixer::Block;
use crate::schedule::{CHUNK_FRAMES, Schedule, WARM_UP_CHUNKS, most_chunks};
use crate::settings::Rate;

/// How long [`Segments::wait`] waits at most, so that its caller can look whether to go on.
const PATIENCE: Duration = Duration::from_millis(50);

/// Samples of up to 49 frames. `right` is empty for mono, else as long as `left`.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) left: Vec<f32>,
    pub(crate) right: Vec<f32>,
}

impl Chunk {
    /// A part of it: of samples from `from` on, at most `count`.
    fn part(&self, from: usize, count: usize) -> Block<'_> {
        let from = from.min(self.left.len());
        let to = from.saturating_add(count).min(self.left.len());
        Block {
            left: &self.left[from..to],
            right: self.right.get(from..to).filter(|_| !self.right.is_empty()),
        }
    }
}

/// The stream of a segment.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Whole frames.
    pub(crate) mp3: Vec<u8>,
    /// How many of them come before the segment.
    pub(crate) warm_up_frames: usize,
    /// Whether there is no other segment.
    pub(crate) is_alone: bool,
}

/// What [`Segments::wait`] waited for.
#[derive(Debug)]
pub(crate) enum Event {
    /// The next segment is encoded.
    Encoded(Encoded),
    /// Another chunk may be pushed.
    Room,
    /// All segments have been handed out.
    End,
    /// Nothing yet.
    Patience,
}

/// What a segment's encoder is given.
enum Piece {
    /// All of it belongs to the segment or its warm-up.
    Whole(Arc<Chunk>),
    /// The segment is over. The first frame is for looking ahead.
    Ahead(Arc<Chunk>),
    /// The audio ends with this.
    Last(Arc<Chunk>),
}

#[derive(Default)]
struct Segment {
    /// How many of its chunks come before it.
    warm_up_chunks: usize,
    pieces: VecDeque<Piece>,
    encoded: Option<Result<Encoded, ConvertError>>,
}

#[derive(Default)]
struct State {
    /// Those that have not been handed out, and the number of the first.
    segments: VecDeque<Segment>,
    first: usize,
    /// The number of the first segment that nobody has begun.
    unclaimed: usize,
    /// How many chunks exist outside of `spare`.
    chunks: usize,
    spare: Vec<Chunk>,
    encoded_samples: u64,
    is_complete: bool,
    is_stopped: bool,
    has_panicked: bool,
}

/// What the threads share.
struct Shared {
    format: Mp3Format,
    /// At the highest bitrate, frames cannot be made longer to join segments, and have bits to spare anyway: segments
    /// begin with an empty reservoir there.
    begins_empty: bool,
    state: Mutex<State>,
    /// There is something to encode, or nothing more ever.
    work: Condvar,
    /// Something has been encoded.
    done: Condvar,
}

/// The segments of one MP3, and the threads that encode them. Dropping it ends the threads, within a chunk's time.
pub(crate) struct Segments {
    shared: Arc<Shared>,
    threads: usize,
    workers: Vec<JoinHandle<()>>,
    schedule: Schedule,
    /// The last chunks, with which the next segment's encoder begins.
    recent: VecDeque<Arc<Chunk>>,
    /// How many chunks the current segment still takes. 0 before the first.
    left: u64,
}

impl Segments {
    pub(crate) fn new(format: Mp3Format, schedule: Schedule, threads: usize) -> Self {
        let highest = Rate::Cbr(highest_kbps(format.sample_rate_hz));
        Self {
            shared: Arc::new(Shared {
                format,
                begins_empty: format.rate == highest,
                state: Mutex::default(),
                work: Condvar::new(),
                done: Condvar::new(),
            }),
            threads: threads.max(1),
            workers: Vec::new(),
            schedule,
            recent: VecDeque::new(),
            left: 0,
        }
    }

    /// Samples per channel in a whole chunk.
    pub(crate) fn chunk_samples(&self) -> usize {
        self.shared.frame_samples() * CHUNK_FRAMES
    }

    /// An empty chunk.
    pub(crate) fn spare(&self) -> Chunk {
        self.shared.lock().spare.pop().unwrap_or_default()
    }

    /// How many samples per channel have been encoded, give or take the warm-up.
    pub(crate) fn encoded_samples(&self) -> u64 {
        self.shared.lock().encoded_samples
    }

    /// Takes the next whole chunk.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn push(&mut self, chunk: Chunk) -> Result<(), ConvertError> {
        let chunk = Arc::new(chunk);
        let mut state = self.shared.lock();
        state.chunks += 1;
        let begins = self.left == 0;
        if begins {
            state.append(Piece::Ahead(Arc::clone(&chunk)));
            let warm_up = self.recent.iter().map(|chunk| Piece::Whole(Arc::clone(chunk)));
            state.segments.push_back(Segment {
                warm_up_chunks: self.recent.len(),
                pieces: warm_up.collect(),
                encoded: None,
            });
            self.left = self.schedule.next_chunks();
        }
        state.append(Piece::Whole(Arc::clone(&chunk)));
        self.left -= 1;
        self.recent.push_back(chunk);
        if self.recent.len() > WARM_UP_CHUNKS
            && let Some(old) = self.recent.pop_front()
        {
            state.give_back(old);
        }
        drop(state);
        self.shared.work.notify_all();
        if begins { self.start_worker() } else { Ok(()) }
    }

    /// Takes the rest, less than a chunk.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn finish(&mut self, rest: Chunk) -> Result<(), ConvertError> {
        let mut state = self.shared.lock();
        state.chunks += 1;
        if state.segments.is_empty() && state.first == 0 {
            state.segments.push_back(Segment::default());
        }
        state.append(Piece::Last(Arc::new(rest)));
        state.is_complete = true;
        drop(state);
        self.shared.work.notify_all();
        if self.workers.is_empty() {
            self.start_worker()
        } else {
            Ok(())
        }
    }

    /// Waits a little for the next segment, or for room where that is of interest.
    ///
    /// # Errors
    /// LAME fails.
    pub(crate) fn wait(&self) -> Result<Event, ConvertError> {
        let most = most_chunks(self.threads);
        let mut state = self.shared.lock();
        for is_last_look in [false, true] {
            if state.has_panicked {
                return Err(ConvertError::Internal {
                    operation: "encoding a segment",
                    source: None,
                });
            }
            if let Some(encoded) = state.take_encoded() {
                return encoded.map(Event::Encoded);
            }
            if state.is_complete && state.segments.is_empty() {
                return Ok(Event::End);
            }
            if !state.is_complete && state.chunks < most {
                return Ok(Event::Room);
            }
            if !is_last_look {
                let waited = self.shared.done.wait_timeout(state, PATIENCE);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        Ok(Event::Patience)
    }

    /// Starts another thread, while there are fewer than allowed.
    fn start_worker(&mut self) -> Result<(), ConvertError> {
        if self.workers.len() >= self.threads {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new()
            .name("encoder".to_owned())
            .spawn(move || shared.work_until_stopped());
        match started {
            Ok(worker) => self.workers.push(worker),
            Err(error) if self.workers.is_empty() => {
                return Err(ConvertError::internal("starting an encoder's thread", error));
            }
            Err(error) => tracing::debug!(%error, "no further encoder's thread"),
        }
        Ok(())
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        self.shared.lock().is_stopped = true;
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("an encoder's thread has panicked");
            }
        }
    }
}

impl State {
    /// Adds to the last segment.
    fn append(&mut self, piece: Piece) {
        // One that has been handed out already needs nothing more.
        if let Some(segment) = self.segments.back_mut() {
            segment.pieces.push_back(piece);
        }
    }

    fn take_encoded(&mut self) -> Option<Result<Encoded, ConvertError>> {
        let encoded = self.segments.front_mut()?.encoded.take()?;
        self.segments.pop_front();
        self.first += 1;
        Some(encoded)
    }

    fn segment(&mut self, number: usize) -> Option<&mut Segment> {
        self.segments.get_mut(number.checked_sub(self.first)?)
    }

    /// Keeps the chunk for reuse if nobody else has it.
    fn give_back(&mut self, chunk: Arc<Chunk>) {
        if let Some(mut chunk) = Arc::into_inner(chunk) {
            chunk.left.clear();
            chunk.right.clear();
            self.chunks -= 1;
            self.spare.push(chunk);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::cast_possible_truncation, reason = "576 or 1152")]
    fn frame_samples(&self) -> usize {
        self.format.frame_samples() as usize
    }

    fn work_until_stopped(&self) {
        let alarm = PanicAlarm(self);
        while let Some((number, warm_up_chunks)) = self.claim() {
            let encoded = self.encode(number, warm_up_chunks).transpose();
            let mut state = self.lock();
            if let Some(segment) = state.segment(number) {
                segment.encoded = encoded;
            }
            drop(state);
            self.done.notify_all();
        }
        drop(alarm);
    }

    /// The number of a segment to encode, and how many chunks come before it. None when there will be none.
    fn claim(&self) -> Option<(usize, usize)> {
        let mut state = self.lock();
        loop {
            if state.is_stopped {
                return None;
            }
            let number = state.unclaimed;
            if let Some(warm_up_chunks) = state.segment(number).map(|segment| segment.warm_up_chunks) {
                state.unclaimed += 1;
                return Some((number, warm_up_chunks));
            }
            if state.is_complete {
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next piece of that segment. None when all ends early.
    fn next_piece(&self, number: usize) -> Option<Piece> {
        let mut state = self.lock();
        loop {
            if state.is_stopped {
                return None;
            }
            if let Some(piece) = state.segment(number)?.pieces.pop_front() {
                return Some(piece);
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, chunk: Arc<Chunk>, encoded_samples: usize) {
        let mut state = self.lock();
        state.encoded_samples += encoded_samples as u64;
        state.give_back(chunk);
        drop(state);
        self.done.notify_all();
    }

    /// Encodes a segment. None when all ends early.
    fn encode(&self, number: usize, mut warm_up_chunks: usize) -> Result<Option<Encoded>, ConvertError> {
        let mut encoder = Encoder::new(&self.format)?;
        let mut mp3 = Vec::new();
        let warm_up_frames = warm_up_chunks * CHUNK_FRAMES;
        let frame_samples = self.frame_samples();
        let mut begins_empty = self.begins_empty && number > 0;
        let is_last = loop {
            let Some(piece) = self.next_piece(number) else {
                return Ok(None);
            };
            match piece {
                Piece::Whole(chunk) if warm_up_chunks > 0 => {
                    warm_up_chunks -= 1;
                    encoder.encode(chunk.part(0, usize::MAX), &mut mp3)?;
                    self.give_back(chunk, 0);
                }
                Piece::Whole(chunk) => {
                    encoder.encode(chunk.part(0, frame_samples), &mut mp3)?;
                    if begins_empty {
                        encoder.pause(&mut mp3)?;
                        begins_empty = false;
                    }
                    encoder.encode(chunk.part(frame_samples, usize::MAX), &mut mp3)?;
                    let samples = chunk.left.len();
                    self.give_back(chunk, samples);
                }
                Piece::Ahead(chunk) => {
                    encoder.encode(chunk.part(0, frame_samples), &mut mp3)?;
                    encoder.pause(&mut mp3)?;
                    self.give_back(chunk, 0);
                    break false;
                }
                Piece::Last(chunk) => {
                    encoder.encode(chunk.part(0, usize::MAX), &mut mp3)?;
                    encoder.finish(&mut mp3)?;
                    let samples = chunk.left.len();
                    self.give_back(chunk, samples);
                    break true;
                }
            }
        };
        Ok(Some(Encoded {
            mp3,
            warm_up_frames,
            is_alone: is_last && number == 0,
        }))
    }
}

/// Tells of a panic, for which the other threads would else wait for ever.
struct PanicAlarm<'a>(&'a Shared);

impl Drop for PanicAlarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().has_panicked = true;
            self.0.done.notify_all();
        }
    }
}

//! The chunks of a range, in order, each checked.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use domain::{BlobStream, Fid, PortError};
use futures_util::stream;
use mongodb::Collection;
use mongodb::bson::{RawDocumentBuf, doc};
use tokio::sync::mpsc;
use tracing::Instrument;

use super::chunk;
use super::document::object_id;
use crate::mongo::{DEADLINE, port_error};

const OPERATION: &str = "read blob";

/// What one query fetches. Each is a query of its own rather than one long cursor: the driver repeats a query after a
/// lost connection, and the server does not keep a cursor for a client that reads slowly.
const PIECE_BYTES: u64 = 1024 * 1024;

/// The bytes of the plan's range.
///
/// At most two pieces wait in memory. The queries run in a task of their own, so dropping the stream cuts none off.
pub(super) fn stream(chunks: Collection<RawDocumentBuf>, plan: Plan) -> BlobStream {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(fetch(chunks, plan, sender).in_current_span());
    let state = Some((receiver, VecDeque::new()));
    Box::pin(stream::unfold(state, next))
}

type Piece = Result<Vec<Bytes>, PortError>;

/// What a stream still has to give; None once it failed.
type Rest = Option<(mpsc::Receiver<Piece>, VecDeque<Bytes>)>;

async fn next(rest: Rest) -> Option<(Result<Bytes, PortError>, Rest)> {
    let (mut receiver, mut ready) = rest?;
    loop {
        if let Some(bytes) = ready.pop_front() {
            return Some((Ok(bytes), Some((receiver, ready))));
        }
        match tokio::time::timeout(DEADLINE, receiver.recv()).await {
            Ok(Some(Ok(piece))) => ready.extend(piece),
            Ok(Some(Err(error))) => return Some((Err(error), None)),
            Ok(None) => return None,
            Err(elapsed) => return Some((Err(PortError::unavailable(OPERATION, elapsed)), None)),
        }
    }
}

/// Which chunks of a file a range touches, and what of them.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) id: Fid,
    pub(super) chunk_bytes: u64,
    pub(super) len_bytes: u64,
    /// Within the file and not empty.
    pub(super) range: Range<u64>,
}

impl Plan {
    fn numbers(&self) -> Range<u64> {
        self.range.start / self.chunk_bytes..self.range.end.div_ceil(self.chunk_bytes)
    }

    /// How many chunks one query fetches: two to eight, or one where a foreign file has huge ones.
    fn chunks_per_piece(&self) -> u64 {
        match PIECE_BYTES / self.chunk_bytes {
            0 => 1,
            chunks => chunks.min(8),
        }
    }

    /// How long chunk `number` must be.
    fn length(&self, number: u64) -> u64 {
        self.chunk_bytes.min(self.len_bytes - number * self.chunk_bytes)
    }

    /// What of chunk `number` is asked for.
    fn part(&self, number: u64) -> Range<usize> {
        let begin = number * self.chunk_bytes;
        let within = |offset: u64| {
            let offset = offset.saturating_sub(begin).min(self.length(number));
            usize::try_from(offset).unwrap_or(usize::MAX)
        };
        within(self.range.start)..within(self.range.end)
    }
}

async fn fetch(chunks: Collection<RawDocumentBuf>, plan: Plan, pieces: mpsc::Sender<Piece>) {
    let Range { mut start, end } = plan.numbers();
    while start < end {
        let Ok(slot) = pieces.reserve().await else {
            return;
        };
        let numbers = start..end.min(start + plan.chunks_per_piece());
        start = numbers.end;
        let piece = fetch_piece(&chunks, &plan, numbers).await;
        let failed = piece.is_err();
        slot.send(piece);
        if failed {
            return;
        }
    }
}

async fn fetch_piece(
    chunks: &Collection<RawDocumentBuf>,
    plan: &Plan,
    numbers: Range<u64>,
) -> Result<Vec<Bytes>, PortError> {
    let unavailable = |error| port_error(OPERATION, error);
    let corrupt = |what: String| PortError::corrupt(OPERATION, format!("file {}: {what}", plan.id));
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let wanted = numbers.end - numbers.start;
    let mut cursor = chunks
        .find(doc! {
            "files_id": object_id(plan.id),
            "n": { "$gte": number(numbers.start), "$lt": number(numbers.end) },
        })
        .sort(doc! { "n": 1 })
        .projection(doc! { "_id": 0, "n": 1, "data": 1 })
        .batch_size(u32::try_from(wanted).unwrap_or(u32::MAX))
        .limit(number(wanted))
        .await
        .map_err(unavailable)?;
    let mut piece = Vec::new();
    for number in numbers {
        if !cursor.advance().await.map_err(unavailable)? {
            return Err(corrupt(format!("chunk {number} is missing")));
        }
        let bytes = chunk::read(cursor.current(), number, plan.length(number)).map_err(corrupt)?;
        let part = bytes
            .get(plan.part(number))
            .ok_or_else(|| corrupt(format!("chunk {number} is short")))?;
        piece.push(Bytes::copy_from_slice(part));
    }
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(range: Range<u64>) -> Plan {
        Plan {
            id: Fid::new(),
            chunk_bytes: 10,
            len_bytes: 25,
            range,
        }
    }

    #[test]
    fn a_range_touches_its_own_chunks_only() {
        assert_eq!(plan(0..25).numbers(), 0..3);
        assert_eq!(plan(0..10).numbers(), 0..1);
        assert_eq!(plan(10..11).numbers(), 1..2);
        assert_eq!(plan(9..20).numbers(), 0..2);
    }

    #[test]
    fn each_chunk_gives_its_part_of_the_range() {
        let plan = plan(9..22);
        assert_eq!(plan.part(0), 9..10);
        assert_eq!(plan.part(1), 0..10);
        assert_eq!(plan.part(2), 0..2);
        assert_eq!(plan.length(2), 5);
    }

    #[test]
    fn a_query_stays_near_one_mebibyte_whatever_the_chunk_size() {
        let with = |chunk_bytes| {
            Plan {
                chunk_bytes,
                ..plan(0..1)
            }
            .chunks_per_piece()
        };
        assert_eq!((with(1), with(261_120), with(15 << 20)), (8, 4, 1));
    }
}

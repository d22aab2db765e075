//! The bytes of a range, a piece at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use domain::{BlobStream, Fid, PortError};
use futures_util::stream;

use super::blocking::{DEADLINE, io_error, off_runtime};
use super::place::Place;
use super::sidecar;

/// What one read fetches, and all that a stream holds.
const PIECE_BYTES: u64 = 1024 * 1024;

const OPERATION: &str = "read blob";

/// Opens `range` of a file, cut at its end; None when there is no such file.
pub(super) fn open(place: &Place, id: Fid, range: Range<u64>) -> Result<Option<BlobStream>, PortError> {
    let Some(blob) = sidecar::stat(place, id)? else {
        return Ok(None);
    };
    let remaining = blob.len_bytes.min(range.end).saturating_sub(range.start);
    if remaining == 0 {
        return Ok(Some(Box::pin(stream::empty())));
    }
    let mut file = File::open(place.blob(id)).map_err(io_error(OPERATION))?;
    file.seek(SeekFrom::Start(range.start)).map_err(io_error(OPERATION))?;
    Ok(Some(Box::pin(stream::unfold(Some((file, remaining)), next))))
}

/// An open file and how many bytes of it are still to give; None once a read failed.
type Rest = Option<(File, u64)>;

async fn next(rest: Rest) -> Option<(Result<Bytes, PortError>, Rest)> {
    let (mut file, remaining) = rest.filter(|(_, remaining)| *remaining > 0)?;
    let piece = off_runtime(OPERATION, DEADLINE, move || {
        let length = remaining.min(PIECE_BYTES);
        let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_exact(&mut piece).map_err(io_error(OPERATION))?;
        Ok((Bytes::from(piece), (file, remaining - length)))
    })
    .await;
    match piece {
        Ok((bytes, rest)) => Some((Ok(bytes), Some(rest))),
        Err(error) => Some((Err(error), None)),
    }
}

//! The metadata beside a file, `ID.json`, and what a file is by both.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::time::UNIX_EPOCH;

use domain::{Blob, BlobOwner, Fid, JobId, NewBlob, OWN_WRITER, PortError, Timestamp};
use serde::{Deserialize, Serialize};

use super::blocking::io_error;
use super::place::Place;
use crate::blobs::digest;

/// The contents of `ID.json`, the names being those of GridFS.
#[derive(Serialize, Deserialize)]
struct Sidecar {
    length: u64,
    filename: Option<String>,
    created_at: Timestamp,
    writer: String,
    job: Option<JobId>,
    owner: Option<String>,
    sha256: String,
}

/// Writes the metadata of a file that is about to be finished, and makes it durable.
pub(super) fn write(place: &Place, blob: &NewBlob, len_bytes: u64, sha256: String) -> Result<Blob, PortError> {
    const OPERATION: &str = "finish blob";

    let sidecar = Sidecar {
        length: len_bytes,
        filename: Some(blob.filename.clone()),
        created_at: Timestamp::now(),
        writer: OWN_WRITER.to_owned(),
        job: Some(blob.job),
        owner: Some(blob.owner.as_str().to_owned()),
        sha256,
    };
    let text = serde_json::to_vec_pretty(&sidecar).map_err(|error| PortError::unavailable(OPERATION, error))?;
    let path = place.sidecar_part(blob.id);
    File::create(&path)
        .and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&path, place.sidecar(blob.id)))
        .map_err(io_error(OPERATION))?;
    place.sync(OPERATION)?;
    Ok(describe(blob.id, sidecar))
}

/// What is known of a finished file. One without metadata is somebody else's.
///
/// # Errors
/// `Corrupt` when the metadata cannot be read or states another length than the file has.
pub(super) fn stat(place: &Place, id: Fid) -> Result<Option<Blob>, PortError> {
    const OPERATION: &str = "stat blob";

    let file = match std::fs::metadata(place.blob(id)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(OPERATION)(error)),
    };
    let text = match std::fs::read(place.sidecar(id)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // A file being deleted loses its bytes first.
            return Ok(place.blob(id).exists().then(|| foreign(id, &file)));
        }
        Err(error) => return Err(io_error(OPERATION)(error)),
    };
    let sidecar: Sidecar = serde_json::from_slice(&text)
        .map_err(|error| PortError::corrupt(OPERATION, format!("metadata of file {id}: {error}")))?;
    if sidecar.length != file.len() {
        let (found, stated) = (file.len(), sidecar.length);
        return Err(PortError::corrupt(
            OPERATION,
            format!("file {id} has {found} bytes instead of {stated}"),
        ));
    }
    Ok(Some(describe(id, sidecar)))
}

fn describe(id: Fid, sidecar: Sidecar) -> Blob {
    Blob {
        id,
        len_bytes: sidecar.length,
        filename: sidecar.filename,
        created_at: sidecar.created_at,
        ours: sidecar.writer == OWN_WRITER,
        job: sidecar.job,
        owner: BlobOwner::from_text(sidecar.owner.as_deref()),
        sha256: digest::well_formed(&sidecar.sha256),
    }
}

fn foreign(id: Fid, file: &std::fs::Metadata) -> Blob {
    let since = file
        .modified()
        .ok()
        .and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
    let modified_ms = since.and_then(|since| i64::try_from(since.as_millis()).ok());
    Blob {
        id,
        len_bytes: file.len(),
        filename: None,
        created_at: Timestamp::from_unix_ms(modified_ms.unwrap_or_default()),
        ours: false,
        job: None,
        owner: BlobOwner::Unstated,
        sha256: None,
    }
}

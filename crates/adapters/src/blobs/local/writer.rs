//! A file being written as `ID.part`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{Blob, BlobWriter, Head, NewBlob, PortError};

use super::blocking::{DEADLINE, io_error, off_runtime};
use super::place::Place;
use super::sidecar;
use crate::blobs::checked_head;
use crate::blobs::digest::Sha256;

/// Small writes are gathered to this size.
const BUFFER_BYTES: usize = 1024 * 1024;

/// How much may wait in the system's cache: syncing as we go keeps the sync at the end short.
const UNSYNCED_BYTES: u64 = 16 * 1024 * 1024;

/// Writes one file; its existence keeps other writers of that id away.
pub(super) struct LocalWriter {
    place: Place,
    blob: NewBlob,
    /// None while a call is under way: a call that fails or is dropped leaves it so, and bytes may be missing.
    part: Option<Part>,
    /// Whether `ID.part` is this writer's to remove.
    holds_part: bool,
}

struct Part {
    file: File,
    buffer: Vec<u8>,
    digest: Sha256,
    len_bytes: u64,
    unsynced_bytes: u64,
}

impl LocalWriter {
    /// Makes `ID.part`.
    ///
    /// # Errors
    /// `Conflict` when a file of that id exists or is being written.
    pub(super) fn begin(place: Place, blob: NewBlob) -> Result<Self, PortError> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(place.part(blob.id))
            .map_err(io_error("begin blob"))?;
        let writer = Self {
            part: Some(Part {
                file,
                buffer: Vec::new(),
                digest: Sha256::new(),
                len_bytes: 0,
                unsynced_bytes: 0,
            }),
            place,
            blob,
            holds_part: true,
        };
        // Looked for once `ID.part` is ours: from here on nobody else can finish this id.
        if writer.place.blob(writer.blob.id).exists() {
            return Err(PortError::conflict("begin blob"));
        }
        Ok(writer)
    }

    fn take_part(&mut self, operation: &'static str) -> Result<Part, PortError> {
        self.part
            .take()
            .ok_or_else(|| PortError::unavailable(operation, "an earlier write failed or was cut off"))
    }

    fn commit(&mut self, head: Option<Head>) -> Result<Blob, PortError> {
        const OPERATION: &str = "finish blob";

        let mut part = self.take_part(OPERATION)?;
        part.write_out(OPERATION, &[])?;
        let head = checked_head(head, part.len_bytes)?;
        if let Some(head) = &head {
            part.put_head(OPERATION, head)?;
        }
        part.file.sync_all().map_err(io_error(OPERATION))?;
        let sha256 = match head {
            None => std::mem::replace(&mut part.digest, Sha256::new()).hex(),
            Some(_) => part.digest_of_file(OPERATION)?,
        };
        let id = self.blob.id;
        let blob = sidecar::write(&self.place, &self.blob, part.len_bytes, sha256)?;
        std::fs::rename(self.place.part(id), self.place.blob(id)).map_err(io_error(OPERATION))?;
        self.holds_part = false;
        self.place.sync(OPERATION)?;
        Ok(blob)
    }

    fn remove_part(&mut self) {
        if !std::mem::take(&mut self.holds_part) {
            return;
        }
        let id = self.blob.id;
        if let Err(error) = self.place.remove_parts(id) {
            tracing::warn!(%id, %error, "parts of an unfinished file are left for the janitor");
        }
    }
}

impl Part {
    fn write_out(&mut self, operation: &'static str, more: &[u8]) -> Result<(), PortError> {
        for bytes in [self.buffer.as_slice(), more] {
            self.file.write_all(bytes).map_err(io_error(operation))?;
            self.digest.update(bytes);
            self.len_bytes += bytes.len() as u64;
            self.unsynced_bytes += bytes.len() as u64;
        }
        self.buffer.clear();
        if self.unsynced_bytes >= UNSYNCED_BYTES {
            self.file.sync_data().map_err(io_error(operation))?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    fn put_head(&mut self, operation: &'static str, head: &Head) -> Result<(), PortError> {
        self.file
            .seek(SeekFrom::Start(head.at))
            .and_then(|_| self.file.write_all(&head.bytes))
            .map_err(io_error(operation))
    }

    /// A head changes the digest from its first byte on, so every byte is read again.
    fn digest_of_file(&mut self, operation: &'static str) -> Result<String, PortError> {
        let mut digest = Sha256::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        self.file.seek(SeekFrom::Start(0)).map_err(io_error(operation))?;
        loop {
            match self.file.read(&mut buffer).map_err(io_error(operation))? {
                0 => return Ok(digest.hex()),
                length => digest.update(&buffer[..length]),
            }
        }
    }
}

#[async_trait]
impl BlobWriter for LocalWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        const OPERATION: &str = "write blob";

        let mut part = self.take_part(OPERATION)?;
        if part.buffer.len() + bytes.len() < BUFFER_BYTES {
            part.buffer.extend_from_slice(&bytes);
        } else {
            part = off_runtime(OPERATION, DEADLINE, move || {
                part.write_out(OPERATION, &bytes)?;
                Ok(part)
            })
            .await?;
        }
        self.part = Some(part);
        Ok(())
    }

    async fn finish(mut self: Box<Self>, head: Option<Head>) -> Result<Blob, PortError> {
        // Without a deadline: how long the disk takes depends on the file.
        off_runtime("finish blob", None, move || {
            let outcome = self.commit(head);
            self.remove_part();
            outcome
        })
        .await
    }

    async fn abort(mut self: Box<Self>) {
        let removed = off_runtime("abort blob", DEADLINE, move || {
            self.remove_part();
            Ok(())
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "an unfinished file may be left for the janitor");
        }
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        if !self.holds_part {
            return;
        }
        let mut rest = Self {
            place: self.place.clone(),
            blob: self.blob.clone(),
            part: None,
            holds_part: std::mem::take(&mut self.holds_part),
        };
        match tokio::runtime::Handle::try_current() {
            // Removing a large file takes its time.
            Ok(runtime) => drop(runtime.spawn_blocking(move || rest.remove_part())),
            Err(_) => rest.remove_part(),
        }
    }
}

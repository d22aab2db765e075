//! A file being written: chunks in batches, the files document last.

use std::future::Future;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{Blob, BlobWriter, Head, NewBlob, PortError, Timestamp};
use futures_util::StreamExt;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::bucket::Bucket;
use super::chunk::{self, Serial};
use super::document::{self, Stored};
use super::reader;
use crate::blobs::digest::Sha256;
use crate::blobs::{CHUNK_BYTES, checked_head};
use crate::mongo::{self, DEADLINE, port_error};

/// [`CHUNK_BYTES`] as lengths of files are counted.
const CHUNK: u64 = CHUNK_BYTES as u64;

/// Chunks per insert, about 2 MiB. One batch fills while one is under way, which the driver copies once more, so a
/// writer holds at most some 7 MiB.
const BATCH_CHUNKS: usize = 8;

type Insert = JoinHandle<Result<(), mongodb::error::Error>>;

/// Writes one file.
pub(super) struct GridFsWriter {
    bucket: Bucket,
    blob: NewBlob,
    serial: Serial,
    filling: Vec<u8>,
    batch: Vec<RawDocumentBuf>,
    next_number: u32,
    len_bytes: u64,
    digest: Sha256,
    insert: Option<Insert>,
    /// Set while a call is under way: a call that fails or is dropped leaves it set, and bytes may be missing.
    spoilt: bool,
    traces: Traces,
}

/// What a writer may have left in the store, and must take back unless it finishes.
#[derive(Default)]
struct Traces {
    chunks: bool,
    /// Matches the files document that was sent; whether it arrived is unknown.
    file: Option<Document>,
}

impl GridFsWriter {
    pub(super) fn new(bucket: Bucket, blob: NewBlob) -> Self {
        Self {
            bucket,
            blob,
            serial: Serial::new(),
            filling: Vec::new(),
            batch: Vec::new(),
            next_number: 0,
            len_bytes: 0,
            digest: Sha256::new(),
            insert: None,
            spoilt: false,
            traces: Traces::default(),
        }
    }

    fn begin(&mut self, operation: &'static str) -> Result<(), PortError> {
        if std::mem::replace(&mut self.spoilt, true) {
            return Err(PortError::unavailable(
                operation,
                "an earlier write failed or was cut off",
            ));
        }
        Ok(())
    }

    async fn append(&mut self, mut bytes: &[u8]) -> Result<(), PortError> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.filling.len()));
            if self.filling.is_empty() {
                self.filling.reserve_exact(CHUNK_BYTES);
            }
            self.filling.extend_from_slice(now);
            self.digest.update(now);
            self.len_bytes += now.len() as u64;
            bytes = rest;
            if self.filling.len() == CHUNK_BYTES {
                self.end_chunk()?;
            }
            if self.batch.len() == BATCH_CHUNKS {
                self.flush().await?;
            }
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), PortError> {
        let chunk = chunk::write(self.serial, self.blob.id, self.next_number, &self.filling)?;
        self.batch.push(chunk);
        self.filling.clear();
        self.next_number += 1;
        Ok(())
    }

    /// Sends the batch once the one before has arrived.
    async fn flush(&mut self) -> Result<(), PortError> {
        self.await_insert("write blob").await?;
        if self.batch.is_empty() {
            return Ok(());
        }
        let chunks = self.bucket.chunks.clone();
        let batch = std::mem::take(&mut self.batch);
        self.traces.chunks = true;
        #[cfg(feature = "seeded-bugs")]
        if domain::seeded_bugs::is_on("cancel-on-write") {
            self.send(async move {
                let insert = chunks.insert_many(batch).into_future();
                let insert = tokio::time::timeout(std::time::Duration::from_secs(1), insert).await;
                insert.map_or(Ok(()), |inserted| inserted.map(drop))
            });
            return Ok(());
        }
        self.send(async move { chunks.insert_many(batch).await.map(drop) });
        Ok(())
    }

    /// Runs a driver call as a task that outlives this writer: cleaning up waits for it.
    fn send(&mut self, call: impl Future<Output = Result<(), mongodb::error::Error>> + Send + 'static) {
        self.insert = Some(tokio::spawn(call.in_current_span()));
    }

    async fn await_insert(&mut self, operation: &'static str) -> Result<(), PortError> {
        let Some(insert) = &mut self.insert else {
            return Ok(());
        };
        let joined = tokio::time::timeout(DEADLINE, insert)
            .await
            .map_err(|elapsed| PortError::unavailable(operation, elapsed))?;
        self.insert = None;
        joined
            .map_err(|error| PortError::unavailable(operation, error))?
            .map_err(|error| port_error(operation, error))
    }

    async fn commit(&mut self, head: Option<Head>) -> Result<Blob, PortError> {
        const OPERATION: &str = "finish blob";

        self.begin(OPERATION)?;
        if !self.filling.is_empty() {
            self.end_chunk()?;
        }
        let head = checked_head(head, self.len_bytes)?;
        self.flush().await?;
        self.await_insert(OPERATION).await?;
        if let Some(head) = &head {
            self.put_head(OPERATION, head).await?;
        }
        self.check_chunks(OPERATION).await?;

        let stored = Stored {
            length: i64::try_from(self.len_bytes).unwrap_or(i64::MAX),
            at: Timestamp::now(),
            sha256: match head {
                None => std::mem::replace(&mut self.digest, Sha256::new()).hex(),
                Some(_) => self.digest_of_stored_chunks().await?,
            },
        };
        let file = document::write(&self.blob, &stored);
        let blob = document::parse(OPERATION, &file)?.blob;
        let files = self.bucket.files.clone();
        // Whole enough to match this writer's document and not another's of the same id.
        self.traces.file = Some(doc! {
            "_id": document::object_id(self.blob.id),
            "uploadDate": file.get("uploadDate"),
            "metadata": file.get("metadata"),
        });
        self.send(async move { files.insert_one(file).await.map(drop) });
        self.await_insert(OPERATION).await?;
        self.traces = Traces::default();
        Ok(blob)
    }

    /// Replaces bytes of chunks that are stored already: of one, or of two where the head goes across a border.
    async fn put_head(&self, operation: &'static str, head: &Head) -> Result<(), PortError> {
        let (mut at, mut bytes) = (head.at, head.bytes.as_ref());
        while !bytes.is_empty() {
            let (number, offset) = (at / CHUNK, usize::try_from(at % CHUNK).unwrap_or_default());
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - offset));
            self.patch_chunk(operation, number, offset, now).await?;
            (at, bytes) = (at + now.len() as u64, rest);
        }
        Ok(())
    }

    async fn patch_chunk(
        &self,
        operation: &'static str,
        number: u64,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), PortError> {
        let corrupt = |what: String| PortError::corrupt(operation, format!("file {}: {what}", self.blob.id));
        let n = u32::try_from(number).map_err(|_| corrupt(format!("no chunk {number}")))?;
        let own_chunk = self.serial.own_chunk(self.blob.id, n);
        let (chunks, filter) = (self.bucket.chunks.clone(), own_chunk.clone());
        let stored = mongo::complete(operation, async move { chunks.find_one(filter).await }).await?;
        let stored = stored.ok_or_else(|| corrupt(format!("chunk {number} is gone")))?;

        let length = CHUNK.min(self.len_bytes - number * CHUNK);
        let mut patched = chunk::read(&stored, number, length).map_err(corrupt)?.to_vec();
        patched
            .get_mut(offset..offset + bytes.len())
            .ok_or_else(|| corrupt(format!("chunk {number} is too short for the head")))?
            .copy_from_slice(bytes);
        let patched = chunk::write(self.serial, self.blob.id, n, &patched)?;
        let chunks = self.bucket.chunks.clone();
        let replaced = mongo::complete(operation, async move { chunks.replace_one(own_chunk, patched).await }).await?;
        if replaced.matched_count == 1 {
            return Ok(());
        }
        Err(corrupt(format!("chunk {number} is gone")))
    }

    /// The specification puts the files document last, as the proof that all chunks are there; so they are counted.
    async fn check_chunks(&self, operation: &'static str) -> Result<(), PortError> {
        // Counting would find that bug as well; the driver's own writer does not count.
        #[cfg(feature = "seeded-bugs")]
        if domain::seeded_bugs::is_on("cancel-on-write") {
            return Ok(());
        }
        let chunks = self.bucket.chunks.clone();
        let filter = doc! { "files_id": document::object_id(self.blob.id) };
        let expected = u64::from(self.next_number);
        let found = mongo::complete(operation, async move { chunks.count_documents(filter).await }).await?;
        if found == expected {
            return Ok(());
        }
        Err(PortError::corrupt(
            operation,
            format!("file {} has {found} chunks instead of {expected}", self.blob.id),
        ))
    }

    /// A head changes the digest from its first byte on, so every byte is read again.
    async fn digest_of_stored_chunks(&self) -> Result<String, PortError> {
        let mut digest = Sha256::new();
        if self.len_bytes > 0 {
            let mut bytes = reader::stream(
                self.bucket.chunks.clone(),
                reader::Plan {
                    id: self.blob.id,
                    chunk_bytes: CHUNK,
                    len_bytes: self.len_bytes,
                    range: 0..self.len_bytes,
                },
            );
            while let Some(piece) = bytes.next().await {
                digest.update(&piece?);
            }
        }
        Ok(digest.hex())
    }

    /// What is left to do to take everything back; after it nothing is left to the writer's drop.
    fn clean_up(&mut self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let bucket = self.bucket.clone();
        let id = self.blob.id;
        let own_chunks = self.serial.own_chunks(id);
        let traces = std::mem::take(&mut self.traces);
        let insert = self.insert.take();
        async move {
            // An insert that is still under way would store chunks after they were deleted.
            if let Some(insert) = insert {
                drop(insert.await);
            }
            let removed = async {
                if let Some(own_file) = traces.file {
                    bucket.files.delete_one(own_file).await?;
                }
                if traces.chunks {
                    bucket.chunks.delete_many(own_chunks).await?;
                }
                Ok::<(), mongodb::error::Error>(())
            };
            if let Err(error) = removed.await {
                tracing::warn!(%id, %error, "parts of an unfinished file are left for the janitor");
            }
        }
    }

    /// Cleans up while the caller waits, but not for ever.
    async fn take_back(&mut self) {
        let cleaning = tokio::spawn(self.clean_up().in_current_span());
        if tokio::time::timeout(DEADLINE, cleaning).await.is_err() {
            tracing::debug!(id = %self.blob.id, "still removing an unfinished file");
        }
    }
}

#[async_trait]
impl BlobWriter for GridFsWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.begin("write blob")?;
        self.append(&bytes).await?;
        self.spoilt = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>, head: Option<Head>) -> Result<Blob, PortError> {
        // One task from here to the files document: a caller that leaves gets a whole file or none.
        mongo::complete_all("finish blob", None, async move {
            let outcome = self.commit(head).await;
            if outcome.is_err() {
                self.take_back().await;
            }
            outcome
        })
        .await
    }

    async fn abort(mut self: Box<Self>) {
        self.take_back().await;
    }
}

impl Drop for GridFsWriter {
    fn drop(&mut self) {
        if !self.traces.chunks && self.traces.file.is_none() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.clean_up().in_current_span());
        }
    }
}

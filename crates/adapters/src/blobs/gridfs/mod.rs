//! Files in MongoDB, written directly to the GridFS specification: `fs.files` and `fs.chunks` in one database per
//! bucket, readable and writable by any driver's GridFS.
//!
//! The driver's own upload stream loses bytes when a pending write is dropped, makes its index late and not unique,
//! and its download stream is slow; so writer and reader are ours.
//!
//! Source: MongoDB specifications, `gridfs/gridfs-spec.md`.

mod bucket;
mod chunk;
mod document;
mod indexes;
mod reader;
mod removal;
mod unfinished;
mod writer;

use std::ops::Range;

use async_trait::async_trait;
use domain::{Blob, BlobStore, BlobStream, BlobWriter, Fid, NewBlob, OWN_WRITER, PortError, Space};
use futures_util::stream;
use mongodb::Client;
use mongodb::bson::{Document, doc};

use crate::mongo;
use bucket::Bucket;
use reader::Plan;
use writer::GridFsWriter;

/// The buckets `fs` of the databases `videos` and `mp3s`.
#[derive(Clone)]
pub struct GridFsBlobStore {
    videos: Bucket,
    mp3s: Bucket,
}

impl GridFsBlobStore {
    /// The store in the databases `{prefix}videos` and `{prefix}mp3s`; the prefix is empty but for tests. Does not
    /// connect: indexes are made when a file is first written, read or looked for.
    pub fn new(client: Client, prefix: &str) -> Self {
        let bucket = |which: domain::Bucket| Bucket::new(&client, &format!("{prefix}{which}"));
        Self {
            videos: bucket(domain::Bucket::Videos),
            mp3s: bucket(domain::Bucket::Mp3s),
        }
    }

    fn bucket(&self, which: domain::Bucket) -> &Bucket {
        match which {
            domain::Bucket::Videos => &self.videos,
            domain::Bucket::Mp3s => &self.mp3s,
        }
    }
}

#[async_trait]
impl BlobStore for GridFsBlobStore {
    async fn put(&self, bucket: domain::Bucket, blob: NewBlob) -> Result<Box<dyn BlobWriter>, PortError> {
        let bucket = self.bucket(bucket);
        bucket.prepare().await?;
        if bucket.file("begin blob", blob.id).await?.is_some() {
            return Err(PortError::conflict("begin blob"));
        }
        Ok(Box::new(GridFsWriter::new(bucket.clone(), blob)))
    }

    async fn stat(&self, bucket: domain::Bucket, id: Fid) -> Result<Option<Blob>, PortError> {
        let file = self.bucket(bucket).file("stat blob", id).await?;
        Ok(file.map(|file| file.blob))
    }

    async fn read(&self, bucket: domain::Bucket, id: Fid, range: Range<u64>) -> Result<Option<BlobStream>, PortError> {
        let bucket = self.bucket(bucket);
        let Some(file) = bucket.file("read blob", id).await? else {
            return Ok(None);
        };
        let range = range.start..range.end.min(file.blob.len_bytes);
        if range.is_empty() {
            return Ok(Some(Box::pin(stream::empty())));
        }
        bucket.prepare().await?;
        let plan = Plan {
            id,
            chunk_bytes: file.chunk_bytes,
            len_bytes: file.blob.len_bytes,
            range,
        };
        Ok(Some(reader::stream(bucket.chunks.clone(), plan)))
    }

    async fn delete(&self, bucket: domain::Bucket, id: Fid) -> Result<(), PortError> {
        let bucket = self.bucket(bucket).clone();
        bucket.prepare().await?;
        removal::remove(&bucket, id).await
    }

    async fn list_ours(&self, bucket: domain::Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Blob>, PortError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let files = self.bucket(bucket).files.clone();
        let filter = doc! { "_id": document::after(after), "metadata.writer": OWN_WRITER };
        let found = mongo::complete("list blobs", async move {
            let mut cursor = files
                .find(filter)
                .sort(doc! { "_id": 1 })
                .limit(i64::from(limit))
                .await?;
            let mut found: Vec<Document> = Vec::new();
            while cursor.advance().await? {
                found.push(cursor.deserialize_current()?);
            }
            Ok(found)
        })
        .await?;
        let readable = found.iter().filter_map(|file| {
            document::parse("list blobs", file)
                .inspect_err(|error| tracing::warn!(%error, "a file of ours is left out"))
                .ok()
        });
        Ok(readable.map(|file| file.blob).collect())
    }

    async fn count(&self, bucket: domain::Bucket) -> Result<u64, PortError> {
        let files = self.bucket(bucket).files.clone();
        mongo::complete("count blobs", async move { files.count_documents(doc! {}).await }).await
    }

    async fn list_unfinished(
        &self,
        bucket: domain::Bucket,
        after: Option<Fid>,
        limit: u32,
    ) -> Result<Vec<Fid>, PortError> {
        let bucket = self.bucket(bucket).clone();
        bucket.prepare().await?;
        unfinished::list(bucket, after, limit).await
    }

    async fn space(&self) -> Result<Option<Space>, PortError> {
        // Of a database that holds nothing yet, no indexes even, the server does not say where it would be.
        self.videos.prepare().await?;
        let database = self.videos.database.clone();
        let stats = mongo::complete("measure blob store", async move {
            database.run_command(doc! { "dbStats": 1 }).await
        });
        Ok(document::space(&stats.await?))
    }

    async fn ping(&self) -> Result<(), PortError> {
        let database = self.videos.database.clone();
        mongo::complete("ping blob store", async move {
            database.run_command(doc! { "ping": 1 }).await?;
            Ok(())
        })
        .await
    }
}

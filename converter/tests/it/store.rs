//! The real store, looked at.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{Blob, BlobStore, BlobStream, BlobWriter, Bucket, Fid, Head, NewBlob, PortError, Space};
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

/// A store that remembers what was asked of it, and can hang.
pub(crate) struct Watched {
    store: Arc<dyn BlobStore>,
    /// What was read of videos: the bytes that went out, one range for each call.
    pub(crate) read: Arc<Mutex<Vec<Range<u64>>>>,
    /// Where set, no call of this kind ends; cancelled once one has begun.
    pub(crate) hangs: Option<(Call, CancellationToken)>,
}

/// A call that can hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
    Finish,
}

impl Watched {
    pub(crate) fn over(store: Arc<dyn BlobStore>) -> Self {
        Self {
            store,
            read: Arc::default(),
            hangs: None,
        }
    }
}

async fn hang(hangs: &Option<(Call, CancellationToken)>, call: Call) {
    if let Some((_, begun)) = hangs.as_ref().filter(|(hangs, _)| *hangs == call) {
        begun.cancel();
        std::future::pending().await
    }
}

/// A file whose end may hang, and then cannot be given up either.
struct Hanging {
    writer: Box<dyn BlobWriter>,
    hangs: Option<(Call, CancellationToken)>,
}

#[async_trait]
impl BlobWriter for Hanging {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        hang(&self.hangs, Call::Write).await;
        self.writer.write(bytes).await
    }

    async fn finish(self: Box<Self>, head: Option<Head>) -> Result<Blob, PortError> {
        hang(&self.hangs, Call::Finish).await;
        self.writer.finish(head).await
    }

    async fn abort(self: Box<Self>) {
        if self.hangs.is_some() {
            std::future::pending().await
        }
        self.writer.abort().await;
    }
}

#[async_trait]
impl BlobStore for Watched {
    async fn put(&self, bucket: Bucket, blob: NewBlob) -> Result<Box<dyn BlobWriter>, PortError> {
        let writer = self.store.put(bucket, blob).await?;
        let hangs = self.hangs.clone();
        Ok(Box::new(Hanging { writer, hangs }))
    }

    async fn stat(&self, bucket: Bucket, id: Fid) -> Result<Option<Blob>, PortError> {
        self.store.stat(bucket, id).await
    }

    async fn read(&self, bucket: Bucket, id: Fid, range: Range<u64>) -> Result<Option<BlobStream>, PortError> {
        hang(&self.hangs, Call::Read).await;
        let number = {
            let mut read = self.read.lock().unwrap();
            read.push(range.start..range.start);
            read.len() - 1
        };
        let read = Arc::clone(&self.read);
        let stream = self.store.read(bucket, id, range).await?;
        Ok(stream.map(|stream| -> BlobStream {
            Box::pin(stream.inspect(move |piece| {
                if let Ok(bytes) = piece {
                    read.lock().unwrap()[number].end += bytes.len() as u64;
                }
            }))
        }))
    }

    async fn delete(&self, bucket: Bucket, id: Fid) -> Result<(), PortError> {
        self.store.delete(bucket, id).await
    }

    async fn list_ours(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Blob>, PortError> {
        self.store.list_ours(bucket, after, limit).await
    }

    async fn count(&self, bucket: Bucket) -> Result<u64, PortError> {
        self.store.count(bucket).await
    }

    async fn list_unfinished(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Fid>, PortError> {
        self.store.list_unfinished(bucket, after, limit).await
    }

    async fn space(&self) -> Result<Option<Space>, PortError> {
        self.store.space().await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.store.ping().await
    }
}

//! Files in a directory: `videos/ID` and `mp3s/ID`, each with its metadata beside it in `ID.json`.
//!
//! A file is written as `ID.part`. Renaming that to `ID` is the commit: bytes and metadata are on the disk before, and
//! a crash at any moment leaves a whole file or an unfinished one. Creating `ID.part` fails when it exists, which
//! keeps writers of several processes apart.

mod blocking;
mod place;
mod reader;
mod sidecar;
mod writer;

use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use domain::{Blob, BlobStore, BlobStream, BlobWriter, Bucket, Fid, NewBlob, PortError, Space};

use crate::ConnectError;
use blocking::{DEADLINE, off_runtime};
use place::Place;

/// A directory with `videos/` and `mp3s/`. Several processes may use it at once.
#[derive(Clone, Debug)]
pub struct LocalBlobStore {
    videos: Place,
    mp3s: Place,
}

impl LocalBlobStore {
    /// Opens the store in `directory`, making it, for this user alone, when it is missing.
    ///
    /// # Errors
    /// [`ConnectError::Io`] when it cannot be made.
    pub fn open(directory: &Path) -> Result<Self, ConnectError> {
        let place = |bucket: Bucket| {
            let path = directory.join(bucket.as_str());
            Place::open(path.clone()).map_err(|source| ConnectError::Io {
                path: path.display().to_string(),
                source,
            })
        };
        Ok(Self {
            videos: place(Bucket::Videos)?,
            mp3s: place(Bucket::Mp3s)?,
        })
    }

    fn place(&self, bucket: Bucket) -> Place {
        match bucket {
            Bucket::Videos => self.videos.clone(),
            Bucket::Mp3s => self.mp3s.clone(),
        }
    }
}

#[async_trait]
impl BlobStore for LocalBlobStore {
    async fn put(&self, bucket: Bucket, blob: NewBlob) -> Result<Box<dyn BlobWriter>, PortError> {
        let place = self.place(bucket);
        // The writer is made where the file is, so that a caller who leaves meanwhile leaves no `ID.part` behind.
        let writer = off_runtime("begin blob", DEADLINE, move || writer::LocalWriter::begin(place, blob)).await?;
        Ok(Box::new(writer))
    }

    async fn stat(&self, bucket: Bucket, id: Fid) -> Result<Option<Blob>, PortError> {
        let place = self.place(bucket);
        off_runtime("stat blob", DEADLINE, move || sidecar::stat(&place, id)).await
    }

    async fn read(&self, bucket: Bucket, id: Fid, range: Range<u64>) -> Result<Option<BlobStream>, PortError> {
        let place = self.place(bucket);
        off_runtime("read blob", DEADLINE, move || reader::open(&place, id, range)).await
    }

    async fn delete(&self, bucket: Bucket, id: Fid) -> Result<(), PortError> {
        let place = self.place(bucket);
        off_runtime("delete blob", DEADLINE, move || place.remove(id)).await
    }

    async fn list_ours(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Blob>, PortError> {
        let place = self.place(bucket);
        off_runtime("list blobs", DEADLINE, move || {
            let mut ours = Vec::new();
            for id in place.finished(after)? {
                if ours.len() >= limit as usize {
                    break;
                }
                match sidecar::stat(&place, id) {
                    Ok(found) => ours.extend(found.filter(|blob| blob.ours)),
                    Err(error @ PortError::Corrupt { .. }) => {
                        tracing::warn!(%error, "a file of ours is left out");
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(ours)
        })
        .await
    }

    async fn count(&self, bucket: Bucket) -> Result<u64, PortError> {
        let place = self.place(bucket);
        off_runtime("count blobs", DEADLINE, move || Ok(place.finished(None)?.len() as u64)).await
    }

    async fn list_unfinished(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Fid>, PortError> {
        let place = self.place(bucket);
        off_runtime("list unfinished blobs", DEADLINE, move || {
            let mut unfinished = place.unfinished(after)?;
            unfinished.truncate(limit as usize);
            Ok(unfinished)
        })
        .await
    }

    async fn space(&self) -> Result<Option<Space>, PortError> {
        // An upload goes into `videos`; `mp3s` may be elsewhere, and is small beside it.
        let place = self.videos.clone();
        off_runtime("measure blob store", DEADLINE, move || place.space()).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        let places = [self.videos.clone(), self.mp3s.clone()];
        off_runtime("ping blob store", DEADLINE, move || {
            places.iter().try_for_each(Place::check)
        })
        .await
    }
}

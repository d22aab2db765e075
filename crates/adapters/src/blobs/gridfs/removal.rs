//! Removing a file in steps, each of which ends well within its deadline however large the file is.

use domain::{Fid, PortError};
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};

use super::bucket::Bucket;
use super::document;
use crate::mongo;

/// How many chunks one step removes: some 250 MiB of ours.
const STEP_CHUNKS: i64 = 1000;

const OPERATION: &str = "delete blob";

/// Removes the files document and every chunk.
///
/// A caller that leaves, or a step that fails, leaves chunks without a file: nobody sees them, and the janitor finds
/// them.
pub(super) async fn remove(bucket: &Bucket, id: Fid) -> Result<(), PortError> {
    let id = document::object_id(id);
    // The files document first: a file without chunks must not be seen, chunks without a file are not.
    let files = bucket.files.clone();
    mongo::complete(OPERATION, async move { files.delete_one(doc! { "_id": id }).await }).await?;
    loop {
        let chunks = bucket.chunks.clone();
        if !mongo::complete(OPERATION, async move { step(&chunks, id).await }).await? {
            return Ok(());
        }
    }
}

/// Removes the first chunks that are left; false when there are none.
async fn step(chunks: &Collection<RawDocumentBuf>, id: ObjectId) -> mongodb::error::Result<bool> {
    let first = chunks
        .clone_with_type::<Document>()
        .find_one(doc! { "files_id": id })
        .sort(doc! { "n": 1 })
        .projection(doc! { "n": 1, "_id": 0 })
        .await?;
    let Some(first) = first else { return Ok(false) };
    let numbers = match first.get("n") {
        Some(Bson::Int32(n)) => doc! { "$lt": i64::from(*n) + STEP_CHUNKS }.into(),
        Some(Bson::Int64(n)) => doc! { "$lt": n.saturating_add(STEP_CHUNKS) }.into(),
        // No number of ours: whatever it is.
        odd => odd.cloned().unwrap_or(Bson::Null),
    };
    let these = doc! { "files_id": id, "n": numbers };
    chunks.delete_many(these).await?;
    Ok(true)
}

//! Ids that have chunks and no files document.

use std::collections::HashSet;

use domain::{Fid, PortError};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::error::Result;

use super::bucket::Bucket;
use super::document;
use crate::mongo;

/// How many finished files one step looks at: bounds the work of each query, whatever the bucket's size.
const STEP_FILES: i64 = 1000;

const OPERATION: &str = "list unfinished blobs";

/// At most `limit` ids after `after`, ascending.
pub(super) async fn list(bucket: Bucket, after: Option<Fid>, limit: u32) -> std::result::Result<Vec<Fid>, PortError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut unfinished: Vec<Fid> = Vec::new();
    let mut after = after;
    while unfinished.len() < limit {
        let step = {
            let bucket = bucket.clone();
            mongo::complete(OPERATION, async move { step(&bucket, after).await }).await?
        };
        unfinished.extend(step.unfinished.into_iter().map(|id| Fid::from(id.bytes())));
        match step.next {
            Some(id) => after = Some(Fid::from(id.bytes())),
            None => break,
        }
    }
    unfinished.truncate(limit);
    Ok(unfinished)
}

struct Step {
    unfinished: Vec<ObjectId>,
    /// Where the following step begins, unless this was the last.
    next: Option<ObjectId>,
}

/// Compares the ids of some files with the ids in the same stretch of the chunks' index.
async fn step(bucket: &Bucket, after: Option<Fid>) -> Result<Step> {
    let mut stretch = document::after(after);
    let finished: Vec<ObjectId> = {
        let files = bucket.files.clone_with_type::<Document>();
        let found = files
            .find(doc! { "_id": stretch.clone() })
            .projection(doc! { "_id": 1 })
            .sort(doc! { "_id": 1 })
            .limit(STEP_FILES)
            .await?;
        ids(found).await?
    };
    let end_of_files = finished.len() < usize::try_from(STEP_FILES).unwrap_or(usize::MAX);
    if let (Some(last), false) = (finished.last(), end_of_files) {
        stretch.insert("$lte", *last);
    }
    // The server jumps from id to id in the index {files_id, n} and reads no chunk (a DISTINCT_SCAN).
    let most = 2 * STEP_FILES;
    let begun = bucket
        .chunks
        .aggregate([
            doc! { "$match": { "files_id": stretch } },
            doc! { "$sort": { "files_id": 1, "n": 1 } },
            doc! { "$group": { "_id": "$files_id", "n": { "$first": "$n" } } },
            doc! { "$project": { "_id": 1 } },
            doc! { "$sort": { "_id": 1 } },
            doc! { "$limit": most },
        ])
        .await?;
    let begun = ids(begun).await?;
    let cut = begun.len() == usize::try_from(most).unwrap_or(usize::MAX);
    let next = match (cut, end_of_files) {
        (true, _) => begun.last().copied(),
        (false, false) => finished.last().copied(),
        (false, true) => None,
    };

    let known: HashSet<ObjectId> = finished.into_iter().collect();
    let suspects: Vec<ObjectId> = begun.into_iter().filter(|id| !known.contains(id)).collect();
    Ok(Step {
        unfinished: still_unfinished(bucket, suspects).await?,
        next,
    })
}

/// Leaves out what was finished since its chunks were looked up.
async fn still_unfinished(bucket: &Bucket, suspects: Vec<ObjectId>) -> Result<Vec<ObjectId>> {
    if suspects.is_empty() {
        return Ok(suspects);
    }
    let found = bucket
        .files
        .find(doc! { "_id": { "$in": &suspects } })
        .projection(doc! { "_id": 1 })
        .await?;
    let finished: HashSet<ObjectId> = ids(found).await?.into_iter().collect();
    Ok(suspects.into_iter().filter(|id| !finished.contains(id)).collect())
}

async fn ids(mut cursor: mongodb::Cursor<Document>) -> Result<Vec<ObjectId>> {
    let mut ids = Vec::new();
    while cursor.advance().await? {
        ids.push(cursor.current().get_object_id("_id")?);
    }
    Ok(ids)
}

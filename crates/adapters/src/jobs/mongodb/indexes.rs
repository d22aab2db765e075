//! The collection's indexes. Making one that exists is nothing, so every replica may make them at once.

use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::error::Error;
use mongodb::options::IndexOptions;

use super::Jobs;

pub(super) async fn create(jobs: &Jobs) -> Result<(), Error> {
    let models = [
        index("by_owner", doc! { "owner_key": 1, "_id": -1 }, None),
        unique(index(
            "by_key",
            doc! { "owner_key": 1, "idempotency_key": 1 },
            Some("idempotency_key"),
        )),
        index("by_state", doc! { "state": 1, "_id": -1 }, None),
        // Finished jobs are in none of these, so looking for work costs the same after a million of them.
        index(
            "receiving",
            doc! { "created_at": 1, "_id": 1, "upload_lease_until": 1 },
            Some("upload_lease_until"),
        ),
        index(
            "to_convert",
            doc! { "created_at": 1, "_id": 1, "convert.due_at": 1, "convert.lease_until": 1 },
            Some("convert.due_at"),
        ),
        index(
            "to_tell",
            doc! { "created_at": 1, "_id": 1, "tell.due_at": 1, "tell.lease_until": 1 },
            Some("tell.due_at"),
        ),
        index(
            "unannounced",
            doc! { "announcement": 1, "announcement_owed_at": 1, "_id": 1 },
            Some("announcement"),
        ),
        index(
            "by_mp3",
            doc! { "mp3_fid": 1, "created_at": 1, "_id": 1 },
            Some("mp3_fid"),
        ),
        index("by_attempt", doc! { "attempt_fids": 1 }, Some("attempt_fids")),
    ];
    jobs.create_indexes(models).await.map(drop)
}

/// An index, of those documents alone that have the field `only_with`.
fn index(name: &str, keys: Document, only_with: Option<&str>) -> IndexModel {
    let mut options = IndexOptions::default();
    options.name = Some(name.to_owned());
    options.partial_filter_expression = only_with.map(|field| doc! { field: { "$exists": true } });
    IndexModel::builder().keys(keys).options(options).build()
}

/// The same index, in which no two documents are alike.
fn unique(mut index: IndexModel) -> IndexModel {
    index.options.get_or_insert_default().unique = Some(true);
    index
}

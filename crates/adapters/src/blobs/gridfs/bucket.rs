//! One GridFS bucket: its two collections and whether their indexes are known to be there.

use std::sync::Arc;

use domain::{Fid, PortError};
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::{Client, Collection, Database};
use tokio::sync::OnceCell;

use super::document::{self, File};
use super::indexes;
use crate::mongo;

#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) database: Database,
    pub(super) files: Collection<Document>,
    pub(super) chunks: Collection<RawDocumentBuf>,
    indexed: Arc<OnceCell<()>>,
}

impl Bucket {
    /// The bucket `fs` of the database `name`.
    pub(super) fn new(client: &Client, name: &str) -> Self {
        let database = client.database(name);
        Self {
            files: database.collection("fs.files"),
            chunks: database.collection("fs.chunks"),
            database,
            indexed: Arc::default(),
        }
    }

    /// Makes the specification's indexes, once, tried again until it succeeds. Two processes may do it at once.
    pub(super) async fn prepare(&self) -> Result<(), PortError> {
        self.indexed
            .get_or_try_init(|| {
                let bucket = self.clone();
                mongo::complete("index blobs", async move { indexes::make(&bucket).await })
            })
            .await
            .copied()
    }

    /// The files document of `id`.
    pub(super) async fn file(&self, operation: &'static str, id: Fid) -> Result<Option<File>, PortError> {
        let files = self.files.clone();
        mongo::complete(operation, async move {
            files.find_one(doc! { "_id": document::object_id(id) }).await
        })
        .await?
        .map(|found| document::parse(operation, &found))
        .transpose()
    }
}

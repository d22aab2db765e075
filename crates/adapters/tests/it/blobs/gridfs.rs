//! GridFS: the port's promises on a real server, and what the specification and other drivers ask for.

mod foreign;
mod pymongo;
mod specification;

use std::sync::Arc;

use adapters::blobs::gridfs::GridFsBlobStore;
use domain::{BlobStore, Fid, PortError};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::{Collection, Database};
use testkit::servers::{self, TestMongo};

/// The databases of one test's store, seen without it.
struct Place {
    mongo: TestMongo,
    client: mongodb::Client,
}

impl Place {
    /// The database that stands for `videos` or `mp3s`.
    fn database(&self, bucket: domain::Bucket) -> Database {
        self.client.database(&format!("{}{bucket}", self.mongo.prefix))
    }

    fn files(&self) -> Collection<Document> {
        self.database(domain::Bucket::Videos).collection("fs.files")
    }

    fn chunks(&self) -> Collection<Document> {
        self.database(domain::Bucket::Videos).collection("fs.chunks")
    }
}

async fn fresh() -> (Arc<dyn BlobStore>, Place) {
    let mongo = servers::mongodb().await;
    let client = adapters::mongo::client(&mongo.url).unwrap();
    let store = GridFsBlobStore::new(client.clone(), &mongo.prefix);
    (Arc::new(store), Place { mongo, client })
}

fn object_id(id: Fid) -> ObjectId {
    ObjectId::from_bytes(id.bytes())
}

testkit::blob_store_conformance!(fresh);

#[tokio::test]
async fn a_server_that_is_away_is_unavailable() {
    let url = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=50".parse().unwrap();
    let store = adapters::blobs::connect(&url).unwrap();
    assert!(matches!(store.ping().await, Err(PortError::Unavailable { .. })));
    let begun = store
        .put(domain::Bucket::Videos, testkit::conformance::blobs::support::new_blob())
        .await;
    assert!(matches!(begun, Err(PortError::Unavailable { .. })));
}

/// The indexes of a collection: keys, and whether unique.
async fn indexes(collection: &Collection<Document>) -> Vec<(Document, bool)> {
    let mut cursor = collection.list_indexes().await.unwrap();
    let mut found = Vec::new();
    while cursor.advance().await.unwrap() {
        let index = cursor.deserialize_current().unwrap();
        let unique = index.options.and_then(|options| options.unique);
        found.push((index.keys, unique == Some(true)));
    }
    found
}

fn chunk_keys() -> Document {
    doc! { "files_id": 1, "n": 1 }
}

//! What is in the collections after we wrote, and what of them a read touches.

use bytes::Bytes;
use domain::{Bucket, PortError};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};
use testkit::conformance::blobs::support::{CHUNK_BYTES, begin_large, new_blob, pattern, put, read};
use testkit::until;

use super::{Place, chunk_keys, fresh, indexes, object_id};

#[tokio::test]
async fn a_bucket_with_small_files_only_has_the_indexes_of_the_specification() {
    let (store, place) = fresh().await;
    put(&*store, Bucket::Videos, &new_blob(), b"small").await;
    assert!(indexes(&place.chunks()).await.contains(&(chunk_keys(), true)));
    let by_name = doc! { "filename": 1, "uploadDate": 1 };
    assert!(indexes(&place.files()).await.contains(&(by_name, false)));
}

#[tokio::test]
async fn an_index_that_is_not_unique_is_used_as_it_is() {
    let (store, place) = fresh().await;
    let plain = IndexModel::builder().keys(chunk_keys()).build();
    place.chunks().create_index(plain).await.unwrap();
    let new = new_blob();
    put(&*store, Bucket::Videos, &new, b"small").await;
    assert_eq!(
        read(&*store, Bucket::Videos, new.id, 0..9).await.unwrap(),
        Some(b"small".to_vec())
    );
    assert!(indexes(&place.chunks()).await.contains(&(chunk_keys(), false)));
}

#[tokio::test]
async fn a_unique_index_of_another_name_is_used_as_it_is() {
    let (store, place) = fresh().await;
    let options = IndexOptions::builder().unique(true).name("by_hand".to_owned()).build();
    let named = IndexModel::builder().keys(chunk_keys()).options(options).build();
    place.chunks().create_index(named).await.unwrap();
    put(&*store, Bucket::Videos, &new_blob(), b"small").await;
    assert!(indexes(&place.chunks()).await.contains(&(chunk_keys(), true)));
}

#[tokio::test]
async fn a_bucket_with_a_chunk_stored_twice_gets_a_plain_index() {
    let (store, place) = fresh().await;
    let twice = doc! { "files_id": 1, "n": 0 };
    place.chunks().insert_many([twice.clone(), twice]).await.unwrap();
    put(&*store, Bucket::Videos, &new_blob(), b"small").await;
    assert!(indexes(&place.chunks()).await.contains(&(chunk_keys(), false)));
}

#[tokio::test]
async fn documents_have_the_types_of_the_specification() {
    let (store, place) = fresh().await;
    let new = new_blob();
    put(&*store, Bucket::Videos, &new, &pattern(0..CHUNK_BYTES + 3)).await;

    let file = place.files().find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(file.get_object_id("_id").unwrap(), object_id(new.id));
    assert_eq!(file.get("length"), Some(&Bson::Int64(261_123)));
    assert_eq!(file.get("chunkSize"), Some(&Bson::Int32(261_120)));
    assert!(file.get_datetime("uploadDate").is_ok());
    assert_eq!(file.get_str("filename").unwrap(), new.filename);
    let metadata = file.get_document("metadata").unwrap();
    assert_eq!(metadata.get_str("writer").unwrap(), "mp3converter");
    assert_eq!(metadata.get_object_id("job").unwrap(), object_id(new.job));
    assert_eq!(metadata.get_str("owner").unwrap(), new.owner.as_str());
    assert_eq!(metadata.get_str("sha256").unwrap().len(), 64);

    let mut chunks = place.chunks().find(doc! {}).sort(doc! { "n": 1 }).await.unwrap();
    for (number, length) in [(0, 261_120), (1, 3)] {
        assert!(chunks.advance().await.unwrap());
        let chunk = chunks.deserialize_current().unwrap();
        assert!(chunk.get_object_id("_id").is_ok());
        assert_eq!(chunk.get_object_id("files_id").unwrap(), object_id(new.id));
        assert_eq!(chunk.get("n"), Some(&Bson::Int32(number)));
        let Some(Bson::Binary(data)) = chunk.get("data") else {
            panic!("data is {:?}", chunk.get("data"));
        };
        assert_eq!((data.subtype, data.bytes.len()), (BinarySubtype::Generic, length));
    }
    assert!(!chunks.advance().await.unwrap());
}

#[tokio::test]
async fn a_file_without_bytes_has_no_chunks() {
    let (store, place) = fresh().await;
    put(&*store, Bucket::Videos, &new_blob(), b"").await;
    assert_eq!(place.chunks().count_documents(doc! {}).await.unwrap(), 0);
}

/// Removes the chunks `filter` names, so that a read that touched one of them would fail.
async fn without(place: &Place, filter: mongodb::bson::Document) {
    place.chunks().delete_many(filter).await.unwrap();
}

#[tokio::test]
async fn a_range_needs_the_chunks_it_touches_and_no_other() {
    let (store, place) = fresh().await;
    let new = new_blob();
    put(&*store, Bucket::Videos, &new, &pattern(0..20 * CHUNK_BYTES)).await;
    without(&place, doc! { "n": { "$nin": [7, 8] } }).await;

    let range = 7 * CHUNK_BYTES..9 * CHUNK_BYTES;
    let found = read(&*store, Bucket::Videos, new.id, range.clone()).await.unwrap();
    assert!(found == Some(pattern(range)));
    let wider = 7 * CHUNK_BYTES..9 * CHUNK_BYTES + 1;
    let outcome = read(&*store, Bucket::Videos, new.id, wider).await;
    assert!(matches!(outcome, Err(PortError::Corrupt { .. })));
}

#[tokio::test]
async fn a_missing_chunk_is_an_error_wherever_it_was() {
    for missing in [0, 3, 9] {
        let (store, place) = fresh().await;
        let new = new_blob();
        put(&*store, Bucket::Videos, &new, &pattern(0..10 * CHUNK_BYTES)).await;
        without(&place, doc! { "n": missing }).await;
        let outcome = read(&*store, Bucket::Videos, new.id, 0..u64::MAX).await;
        assert!(matches!(outcome, Err(PortError::Corrupt { .. })), "chunk {missing}");
    }
}

#[tokio::test]
async fn a_chunk_of_the_wrong_length_is_an_error() {
    let (store, place) = fresh().await;
    let new = new_blob();
    put(&*store, Bucket::Videos, &new, &pattern(0..3 * CHUNK_BYTES)).await;
    let short = mongodb::bson::Binary {
        subtype: BinarySubtype::Generic,
        bytes: pattern(0..CHUNK_BYTES - 1),
    };
    place
        .chunks()
        .update_one(doc! { "n": 1 }, doc! { "$set": { "data": short } })
        .await
        .unwrap();
    let outcome = read(&*store, Bucket::Videos, new.id, 0..u64::MAX).await;
    assert!(matches!(outcome, Err(PortError::Corrupt { .. })));
}

#[tokio::test]
async fn a_chunk_stored_twice_does_not_pass_for_the_next() {
    let (store, place) = fresh().await;
    let plain = IndexModel::builder().keys(chunk_keys()).build();
    place.chunks().create_index(plain).await.unwrap();
    let new = new_blob();
    put(&*store, Bucket::Videos, &new, &pattern(0..3 * CHUNK_BYTES)).await;
    let mut first = place.chunks().find_one(doc! { "n": 0 }).await.unwrap().unwrap();
    first.remove("_id");
    place.chunks().insert_one(first).await.unwrap();
    without(&place, doc! { "n": 1 }).await;
    let outcome = read(&*store, Bucket::Videos, new.id, 0..u64::MAX).await;
    assert!(matches!(outcome, Err(PortError::Corrupt { .. })));
}

/// Chunks as they are in the store, while the file is not visible yet.
async fn stored_chunks(chunks: &Collection<mongodb::bson::Document>) -> u64 {
    chunks.count_documents(doc! {}).await.unwrap()
}

#[tokio::test]
async fn a_chunk_that_got_lost_before_the_end_is_noticed_and_nothing_is_left() {
    let (store, place) = fresh().await;
    let new = new_blob();
    let writer = begin_large(&*store, Bucket::Videos, &new).await;
    until("chunks are stored", async || {
        (stored_chunks(&place.chunks()).await > 0).then_some(())
    })
    .await;
    place.chunks().delete_one(doc! { "n": 5 }).await.unwrap();
    let outcome = writer.finish(None).await;
    assert!(matches!(outcome, Err(PortError::Corrupt { .. })));
    assert_eq!(store.stat(Bucket::Videos, new.id).await.unwrap(), None);
    assert_eq!(stored_chunks(&place.chunks()).await, 0);
}

#[tokio::test]
async fn giving_up_spares_another_writers_chunks_of_the_same_id() {
    let (store, place) = fresh().await;
    let new = new_blob();
    let mut ours = store.put(Bucket::Videos, new.clone()).await.unwrap();
    let theirs = put(&*store, Bucket::Videos, &new, &pattern(0..CHUNK_BYTES)).await;
    ours.write(Bytes::from(pattern(0..2 * CHUNK_BYTES))).await.unwrap();
    let outcome = ours.finish(None).await;
    assert!(matches!(outcome, Err(PortError::Conflict { .. })));
    assert_eq!(store.stat(Bucket::Videos, new.id).await.unwrap(), Some(theirs));
    assert_eq!(stored_chunks(&place.chunks()).await, 1);
    let found = read(&*store, Bucket::Videos, new.id, 0..u64::MAX).await.unwrap();
    assert!(found == Some(pattern(0..CHUNK_BYTES)));
}

#[tokio::test]
async fn a_large_file_is_deleted_in_steps_of_bounded_size() {
    let (store, place) = fresh().await;
    let new = new_blob();
    put(&*store, Bucket::Videos, &new, b"small").await;
    // Chunks of a byte do as well as those of 255 KiB; more than two steps of them, and some with odd numbers.
    let chunk = |n: Bson| doc! { "files_id": object_id(new.id), "n": n, "data": "x" };
    let numbered = (1..2_500_i32).map(|n| chunk(n.into()));
    let odd = [
        chunk(Bson::Int64(1 << 40)),
        chunk(Bson::Null),
        chunk(Bson::Double(7_000.5)),
    ];
    place.chunks().insert_many(numbered.chain(odd)).await.unwrap();
    let others = new_blob();
    put(&*store, Bucket::Videos, &others, b"small").await;

    let database = place.database(Bucket::Videos);
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    store.delete(Bucket::Videos, new.id).await.unwrap();
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    assert_eq!(
        place.chunks().count_documents(doc! {}).await.unwrap(),
        1,
        "that of another file"
    );
    let mut deletes = database
        .collection::<mongodb::bson::Document>("system.profile")
        .find(doc! { "op": "remove" })
        .await
        .unwrap();
    let mut most = 0;
    while deletes.advance().await.unwrap() {
        let deleted = deletes.deserialize_current().unwrap();
        most = most.max(deleted.get("ndeleted").and_then(Bson::as_i32).unwrap());
    }
    assert!((1..=1_001).contains(&most), "{most} at once");
}

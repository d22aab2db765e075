//! Files other drivers wrote by their own taste.

use domain::{BlobOwner, Bucket, Fid, PortError};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};
use testkit::conformance::blobs::support::{new_blob, pattern, put, read};

use super::{Place, fresh, object_id};

/// Stores `bytes` in chunks of `chunk_bytes` under `files_id`, with a files document of `rest` alone.
async fn insert(place: &Place, files_id: impl Into<Bson>, bytes: &[u8], chunk_bytes: usize, rest: Document) {
    let files_id = files_id.into();
    for (number, bytes) in bytes.chunks(chunk_bytes).enumerate() {
        let data = Binary {
            subtype: BinarySubtype::Generic,
            bytes: bytes.to_vec(),
        };
        let number = i64::try_from(number).unwrap();
        let chunk = doc! { "files_id": files_id.clone(), "n": number, "data": data };
        place.chunks().insert_one(chunk).await.unwrap();
    }
    let mut file = doc! { "_id": files_id };
    file.extend(rest);
    place.files().insert_one(file).await.unwrap();
}

#[tokio::test]
async fn any_chunk_size_and_any_number_type_is_read() {
    let bytes = pattern(0..10_007);
    for (chunk_bytes, length, chunk_size) in [
        (1000, Bson::Int32(10_007), Bson::Int32(1000)),
        (7, Bson::Double(10_007.0), Bson::Double(7.0)),
        (10_007, Bson::Int64(10_007), Bson::Int64(10_007)),
        (10_007, Bson::Int64(10_007), Bson::Int64(15 << 20)),
    ] {
        let (store, place) = fresh().await;
        let id = Fid::new();
        let rest = doc! { "length": length, "chunkSize": chunk_size, "filename": null };
        insert(&place, object_id(id), &bytes, chunk_bytes, rest).await;
        for range in [0..10_007, 0..1, 6..8, 999..1001, 10_006..20_000] {
            let expected = pattern(range.start..range.end.min(10_007));
            let found = read(&*store, Bucket::Videos, id, range.clone()).await.unwrap();
            assert!(found == Some(expected), "{range:?} in chunks of {chunk_bytes}");
        }
        let blob = store.stat(Bucket::Videos, id).await.unwrap().unwrap();
        assert!(!blob.ours);
        assert_eq!((blob.filename, blob.owner, blob.job), (None, BlobOwner::Unstated, None));
    }
}

#[tokio::test]
async fn ids_that_are_not_object_ids_are_counted_and_never_ours() {
    let (store, place) = fresh().await;
    let rest = doc! { "length": 1, "chunkSize": 1, "metadata": { "writer": "mp3converter" } };
    insert(&place, "a name", b"x", 1, rest.clone()).await;
    insert(&place, 7, b"x", 1, rest).await;
    let chunk = doc! { "files_id": "lost", "n": 0 };
    place.chunks().insert_one(chunk).await.unwrap();

    let ours = put(&*store, Bucket::Videos, &new_blob(), b"ours").await;
    assert_eq!(store.count(Bucket::Videos).await.unwrap(), 3);
    assert_eq!(store.list_ours(Bucket::Videos, None, 10).await.unwrap(), [ours]);
    assert_eq!(store.list_unfinished(Bucket::Videos, None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn foreign_files_are_not_listed_as_ours() {
    let (store, place) = fresh().await;
    let rest = doc! { "length": 1, "chunkSize": 1, "metadata": { "writer": "somebody" } };
    insert(&place, object_id(Fid::new()), b"x", 1, rest).await;
    insert(
        &place,
        object_id(Fid::new()),
        b"x",
        1,
        doc! { "length": 1, "chunkSize": 1 },
    )
    .await;
    assert_eq!(store.list_ours(Bucket::Videos, None, 10).await.unwrap(), []);
    assert_eq!(store.count(Bucket::Videos).await.unwrap(), 2);
}

#[tokio::test]
async fn a_damaged_file_of_ours_does_not_hide_the_others() {
    let (store, place) = fresh().await;
    let damaged = Fid::new();
    let rest = doc! { "length": -1, "chunkSize": 1, "metadata": { "writer": "mp3converter" } };
    insert(&place, object_id(damaged), b"x", 1, rest).await;
    let whole = put(&*store, Bucket::Videos, &new_blob(), b"whole").await;
    assert_eq!(store.list_ours(Bucket::Videos, None, 10).await.unwrap(), [whole]);
    let outcome = store.stat(Bucket::Videos, damaged).await;
    assert!(matches!(outcome, Err(PortError::Corrupt { .. })));
}

#[tokio::test]
async fn unfinished_files_are_found_among_thousands() {
    let (store, place) = fresh().await;
    // More than the janitor's one step of a thousand on either side.
    let ids: Vec<Fid> = (0..5200).map(|_| Fid::new()).collect();
    let (unfinished, finished): (Vec<_>, Vec<_>) =
        ids.iter().enumerate().partition(|(at, _)| (2500..5000).contains(at));
    let files = finished.iter().map(|(_, id)| doc! { "_id": object_id(**id) });
    place.files().insert_many(files).await.unwrap();
    let chunks = ids
        .iter()
        .flat_map(|id| (0..2).map(|n| doc! { "files_id": object_id(*id), "n": n }));
    place.chunks().insert_many(chunks).await.unwrap();

    let expected: Vec<Fid> = unfinished.into_iter().map(|(_, id)| *id).collect();
    let mut found = Vec::new();
    loop {
        let page = store
            .list_unfinished(Bucket::Videos, found.last().copied(), 1001)
            .await
            .unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, expected);
}

//! Nobody reads or learns of another owner's files.

use domain::{Bucket, Fid, JobMessage};
use gateway::UnownedFiles;

use crate::gateway::{ADA, BOB, Gateway, Setup, address, token};

#[tokio::test]
async fn another_owners_job_looks_like_none() {
    let gateway = Gateway::start().await;
    let (ada, bob) = (gateway.login(ADA).await, gateway.login(BOB).await);
    let id = gateway.uploaded(&ada).await;
    let target = format!("/api/v1/jobs/{id}");
    let nowhere = format!("/api/v1/jobs/{}", Fid::new());
    for method in ["GET", "DELETE"] {
        let foreign = gateway.call_as(&bob, method, &target).await;
        let unknown = gateway.call_as(&bob, method, &nowhere).await;
        let malformed = gateway.call_as(&bob, method, "/api/v1/jobs/x").await;
        for answer in [&foreign, &unknown, &malformed] {
            answer.assert_problem(404, "job_not_found");
            assert_eq!(answer.body, unknown.body);
        }
    }
    assert_eq!(
        gateway.call_as(&bob, "GET", "/api/v1/jobs").await.json(),
        serde_json::json!([])
    );
    assert_eq!(gateway.call_as(&ada, "GET", &target).await.status, 200);
}

#[tokio::test]
async fn another_owners_file_looks_like_none() {
    let gateway = Gateway::start().await;
    let bob = gateway.login(BOB).await;
    let fid = gateway.store_mp3(ADA, "clip.mp3", b"mp3").await;
    for id in [
        &*fid.to_string(),
        &*Fid::new().to_string(),
        "x",
        "000000000000000000000000",
        "%00",
    ] {
        for range in [None, Some(("Range", "bytes=0-0")), Some(("If-None-Match", "*"))] {
            let bearer = format!("Bearer {bob}");
            let mut headers = vec![("Authorization", bearer.as_str())];
            headers.extend(range);
            let answer = gateway.call("GET", &format!("/download?fid={id}"), &headers).await;
            answer.assert_plain(404, "not found");
        }
    }
}

#[tokio::test]
async fn a_video_cannot_be_downloaded() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let id = gateway.uploaded(&ada).await;
    let answer = gateway.call_as(&ada, "GET", &format!("/download?fid={id}")).await;
    answer.assert_plain(404, "not found");
}

#[tokio::test]
async fn an_owner_is_known_whatever_the_case_of_the_address() {
    let gateway = Gateway::start().await;
    let fid = gateway.store_mp3("ADA@EXAMPLE.COM", "clip.mp3", b"mp3").await;
    let ada = gateway.login("ada@Example.com").await;
    let answer = gateway.call_as(&ada, "GET", &format!("/download?fid={fid}")).await;
    assert_eq!((answer.status, &*answer.body), (200, &b"mp3"[..]));
}

/// A file without metadata whose job, completed by a foreign converter, is Ada's.
async fn foreign_conversion(gateway: &Gateway) -> Fid {
    let ada = gateway.login(ADA).await;
    let id = gateway.uploaded(&ada).await;
    let fid = gateway.store_foreign(Bucket::Mp3s, b"mp3");
    let message = JobMessage {
        video_fid: id,
        mp3_fid: Some(fid),
        username: address(ADA),
        trace: None,
    };
    gateway.jobs.adopt(&message).await.unwrap();
    fid
}

#[tokio::test]
async fn a_file_without_owner_belongs_to_the_job_that_names_it() {
    let mut setup = Setup::new().await;
    setup.settings.unowned_files = UnownedFiles::Shared;
    let gateway = setup.start().await;
    let fid = foreign_conversion(&gateway).await;
    let (ada, bob) = (gateway.login(ADA).await, gateway.login(BOB).await);
    let target = format!("/download?fid={fid}");
    let answer = gateway.call_as(&ada, "GET", &target).await;
    assert_eq!((answer.status, &*answer.body), (200, &b"mp3"[..]));
    // Named after the upload, which the job knows.
    assert!(answer.header("content-disposition").unwrap().contains("\"clip.mp3\""));
    gateway
        .call_as(&bob, "GET", &target)
        .await
        .assert_plain(404, "not found");
}

#[tokio::test]
async fn a_file_that_belongs_to_nobody_is_hidden_unless_such_files_are_shared() {
    for (unowned_files, status) in [(UnownedFiles::Hidden, 404), (UnownedFiles::Shared, 200)] {
        let mut setup = Setup::new().await;
        setup.settings.unowned_files = unowned_files;
        let gateway = setup.start().await;
        let fid = gateway.store_foreign(Bucket::Mp3s, b"mp3");
        for email in [ADA, BOB] {
            let token = gateway.login(email).await;
            let answer = gateway.call_as(&token, "GET", &format!("/download?fid={fid}")).await;
            assert_eq!(answer.status, status);
        }
        let not_admin = token(BOB, false, 3600);
        let answer = gateway
            .call_as(&not_admin, "GET", &format!("/download?fid={fid}"))
            .await;
        answer.assert_plain(401, "not authorized");
    }
}

#[tokio::test]
async fn a_file_whose_owner_cannot_be_read_is_nobodys_even_where_files_are_shared() {
    let mut setup = Setup::new().await;
    setup.settings.unowned_files = UnownedFiles::Shared;
    let gateway = setup.start().await;
    let fid = gateway.store_mp3(ADA, "clip.mp3", b"mp3").await;
    let metadata = gateway.blob_path(Bucket::Mp3s, fid).with_extension("json");
    let text = std::fs::read_to_string(&metadata).unwrap();
    std::fs::write(&metadata, text.replace(ADA, " Ada ")).unwrap();
    for email in [ADA, BOB] {
        let token = gateway.login(email).await;
        let answer = gateway.call_as(&token, "GET", &format!("/download?fid={fid}")).await;
        answer.assert_plain(404, "not found");
    }
}

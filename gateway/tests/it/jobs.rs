//! `/api/v1/jobs`.

use domain::{JobMessage, JobState, Reason, ReasonCode};
use testkit::until;

use crate::gateway::{ADA, Gateway, address, file, form, open_form, text, upload_head};

#[tokio::test]
async fn a_job_shows_exactly_the_documented_fields() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let body = form(&[text("vbr", "0"), file("file", "clip.mp4", b"video")]);
    let answer = gateway.upload(&ada, &body).await;
    let location = answer.header("location").unwrap();
    let shown = gateway.call_as(&ada, "GET", location).await;
    assert_eq!(shown.header("content-type"), Some("application/json"));
    let mut job = shown.json();
    for moment in ["created_at", "updated_at"] {
        let text = job[moment].as_str().unwrap();
        assert!(
            text.starts_with("20") && text.contains('T') && text.ends_with('Z'),
            "{text}"
        );
        job[moment] = "T".into();
    }
    let id = answer.header("x-job-id").unwrap();
    let expected = serde_json::json!({
        "id": id, "state": "queued", "progress": 0.0, "filename": "clip.mp4", "size_bytes": 5, "options": {"vbr": 0},
        "mp3_fid": null, "notes": [], "reason": null, "attempts": 0, "created_at": "T", "updated_at": "T",
        "finished_at": null,
    });
    assert_eq!(job, expected);
    let head = gateway.call_as(&ada, "HEAD", location).await;
    assert_eq!(head.status, 200);
}

#[tokio::test]
async fn a_job_shows_its_file_name_while_its_bytes_arrive_and_when_they_stop() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let mut client = gateway.connect().await;
    client.send(upload_head(&ada, 10_000_000, &[])).await;
    client
        .send(open_form(&[file("file", "clips/summer.mp4", b"vid")]))
        .await;
    until("an upload has begun", async || {
        (!gateway.all_jobs().await.is_empty()).then_some(())
    })
    .await;
    let shown = gateway.call_as(&ada, "GET", "/api/v1/jobs").await.json();
    assert_eq!(
        (&shown[0]["state"], &shown[0]["filename"]),
        (&"receiving".into(), &"summer.mp4".into())
    );

    drop(client);
    let job = gateway.ended_job().await;
    assert_eq!(
        (job.state, job.filename.as_deref()),
        (JobState::Failed, Some("summer.mp4"))
    );
}

#[tokio::test]
async fn a_finished_job_names_its_mp3_and_a_failed_one_its_reason() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let (done, cancelled) = (gateway.uploaded(&ada).await, gateway.uploaded(&ada).await);
    let mp3_fid = domain::Fid::new();
    let message = JobMessage {
        video_fid: done,
        mp3_fid: Some(mp3_fid),
        username: address(ADA),
        trace: None,
    };
    gateway.jobs.adopt(&message).await.unwrap();
    let reason = Reason {
        code: ReasonCode::Cancelled,
        message: "You cancelled this job.".to_owned(),
    };
    assert!(gateway.jobs.cancel(cancelled, reason).await.unwrap());
    let job = gateway
        .call_as(&ada, "GET", &format!("/api/v1/jobs/{done}"))
        .await
        .json();
    assert_eq!(
        (&job["state"], &job["mp3_fid"]),
        (&"done".into(), &mp3_fid.to_string().into())
    );
    assert!(job["finished_at"].is_string());
    let job = gateway
        .call_as(&ada, "GET", &format!("/api/v1/jobs/{cancelled}"))
        .await
        .json();
    let reason = serde_json::json!({"code": "cancelled", "message": "You cancelled this job."});
    assert_eq!(job["reason"], reason);
}

#[tokio::test]
async fn a_list_is_newest_first_and_paged() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, gateway.uploaded(&ada).await.to_string());
    }
    let listed = async |query: &str| -> Vec<String> {
        let answer = gateway.call_as(&ada, "GET", &format!("/api/v1/jobs{query}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let jobs = answer.json();
        let jobs = jobs.as_array().unwrap();
        jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("").await, ids);
    assert_eq!(listed("?limit=2").await, ids[..2]);
    assert_eq!(listed(&format!("?limit=2&before={}", ids[1])).await, ids[2..4]);
    assert_eq!(listed(&format!("?before={}", ids[4])).await, Vec::<String>::new());
    assert_eq!(listed("?limit=200&other=1").await, ids);
}

#[tokio::test]
async fn bad_bounds_of_a_list_are_refused() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    for (query, code) in [
        ("limit=0", "bad_limit"),
        ("limit=201", "bad_limit"),
        ("limit=ten", "bad_limit"),
        ("limit=-1", "bad_limit"),
        ("before=x", "bad_before"),
        ("before=", "bad_before"),
    ] {
        let answer = gateway.call_as(&ada, "GET", &format!("/api/v1/jobs?{query}")).await;
        answer.assert_problem(400, code);
    }
}

#[tokio::test]
async fn a_job_is_cancelled_once() {
    let gateway = Gateway::start().await;
    let ada = gateway.login(ADA).await;
    let id = gateway.uploaded(&ada).await;
    let target = format!("/api/v1/jobs/{id}");
    let answer = gateway.call_as(&ada, "DELETE", &target).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let job = gateway.job(id).await;
    assert_eq!(job.state, JobState::Cancelled);
    assert_eq!(job.reason.unwrap().code, ReasonCode::Cancelled);
    let again = gateway.call_as(&ada, "DELETE", &target).await;
    again.assert_problem(409, "not_cancellable");
}

#[tokio::test]
async fn the_limits_are_told_to_anybody_as_they_are_set() {
    let mut setup = crate::gateway::Setup::new().await;
    setup.settings.max_upload_bytes = 1_000_000;
    setup.settings.pace.upload_floor_window = 7.try_into().unwrap();
    setup.settings.logins.login_failures_per_account = 3.try_into().unwrap();
    let gateway = setup.start().await;
    let answer = gateway.call("GET", "/api/v1/limits", &[]).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    let expected = serde_json::json!({
        "upload": {
            "max_bytes": 1_000_000, "floor_bytes_per_second": 8192, "floor_window_seconds": 7, "min_free_percent": 0,
            "max_parts": 100, "max_part_head_bytes": 16384, "max_option_bytes": 64,
            "idempotency_key_characters": {"min": 1, "max": 255},
        },
        "options": {
            "vbr": {"min": 0, "max": 9},
            "bitrate": [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
            "quality": {"min": 0, "max": 9},
            "channels": {"min": 1, "max": 2},
            "rate": [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000],
            "gaps": ["silence", "drop"],
        },
        "media": {
            "duration_seconds": 43200, "streams": 64, "channels": 64, "mp3_bytes": 2_147_483_648_u64,
            "conversion_seconds": 14400,
        },
        "request": {"max_head_bytes": 65536, "max_headers": 100, "head_seconds": 10},
        "login": {"failures_per_account": 3, "failures_per_address": 30, "window_seconds": 60},
        "jobs": {"max_limit": 200},
    });
    assert_eq!(answer.json(), expected);
}

//! The routes: status, body and headers to the letter.

use std::sync::Arc;

use auth::AuthService;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use domain::{Authenticator as _, Timestamp};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{Accounts, SECRET, basic, connect, service};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn assert_is(&self, status: u16, body: &str) {
        assert_eq!((self.status.as_u16(), self.body.as_str()), (status, body));
        assert_eq!(self.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

async fn ask(service: &Arc<AuthService>, method: &str, path: &str, authorization: Option<&[u8]>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Body::from("a body that nobody asked for")).unwrap();
    let response = auth::http::router(Arc::clone(service)).oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer {
        status,
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn login(service: &Arc<AuthService>, authorization: &str) -> Answer {
    ask(service, "POST", "/login", Some(authorization.as_bytes())).await
}

async fn validate(service: &Arc<AuthService>, authorization: &str) -> Answer {
    ask(service, "POST", "/validate", Some(authorization.as_bytes())).await
}

fn sign(claims: &Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap()
}

fn now() -> i64 {
    Timestamp::now().unix_ms() / 1000
}

#[tokio::test]
async fn a_login_answers_with_the_token_alone() {
    let accounts = Accounts::with_ada().await;
    let service = accounts.service();
    let answer = login(&service, &basic("ada@EXAMPLE.com", "hunter2")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(
        service.validate(&answer.body).await.unwrap().username.as_str(),
        "Ada@example.com"
    );
}

#[tokio::test]
async fn a_login_without_usable_credentials_is_missing_credentials() {
    let accounts = Accounts::with_ada().await;
    let service = accounts.service();
    let long = basic("Ada@example.com", &"x".repeat(9000));
    let headers: [Option<&[u8]>; 9] = [
        None,
        Some(b""),
        Some(b"Basic"),
        Some(b"Basic !!!"),
        Some(b"Basic QWRh"),
        Some(b"Basic QWRhQGV4YW1wbGUuY29tOmh1bnRlcjI"),
        Some(b"Bearer x.y.z"),
        Some(b"\xff\xfe"),
        Some(long.as_bytes()),
    ];
    for authorization in headers {
        let answer = ask(&service, "POST", "/login", authorization).await;
        answer.assert_is(401, "missing credentials");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "));
    }
}

#[tokio::test]
async fn a_wrong_login_is_invalid_credentials_whatever_is_wrong() {
    let accounts = Accounts::with_ada().await;
    let service = accounts.service();
    let long = "x".repeat(2000);
    for (username, password) in [
        ("Ada@example.com", "wrong"),
        ("Ada@example.com", ""),
        ("Ada@example.com", &long),
        ("nobody@example.com", "hunter2"),
        ("", ""),
        ("' OR ''='", "' OR ''='"),
    ] {
        let answer = login(&service, &basic(username, password)).await;
        answer.assert_is(401, "invalid credentials");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "));
    }
}

#[tokio::test]
async fn a_valid_token_answers_with_its_claims() {
    let accounts = Accounts::with_ada().await;
    let service = accounts.service();
    let token = login(&service, &basic("Ada@example.com", "hunter2")).await.body;
    let answer = validate(&service, &format!("Bearer {token}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let claims: Value = serde_json::from_str(&answer.body).unwrap();
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert_eq!(exp - iat, 86_400);
    assert_eq!(
        claims,
        json!({"username": "Ada@example.com", "exp": exp, "iat": iat, "admin": true})
    );
}

#[tokio::test]
async fn a_token_without_admin_rights_is_valid_and_says_so() {
    let accounts = Accounts::with_ada().await;
    let token = sign(&json!({"username": "Ada@example.com", "exp": now() + 60, "iat": now() + 1, "admin": false}));
    let answer = validate(&accounts.service(), &format!("Bearer {token}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap()["admin"], false);
}

#[tokio::test]
async fn no_token_is_missing_credentials_and_a_bad_one_is_not_authorized() {
    let accounts = Accounts::with_ada().await;
    let service = accounts.service();
    for authorization in [None, Some(&b""[..]), Some(b"  ")] {
        let answer = ask(&service, "POST", "/validate", authorization).await;
        answer.assert_is(401, "missing credentials");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer "));
    }
    let expired = sign(&json!({"username": "Ada@example.com", "exp": now() - 60, "iat": now() + 1, "admin": true}));
    let nobodys = sign(&json!({"username": "nobody@example.com", "exp": now() + 60, "iat": now() + 1, "admin": true}));
    let too_old = sign(&json!({"username": "Ada@example.com", "exp": now() + 60, "iat": now() - 60, "admin": true}));
    for authorization in [
        "Bearer x.y.z".to_owned(),
        "Bearer".to_owned(),
        "Bearer  ".to_owned(),
        basic("Ada@example.com", "hunter2"),
        format!("Bearer {expired}"),
        format!("Bearer {nobodys}"),
        format!("Bearer {too_old}"),
        format!("Bearer {}", "a".repeat(9000)),
    ] {
        validate(&service, &authorization)
            .await
            .assert_is(403, "not authorized");
    }
}

#[tokio::test]
async fn other_methods_are_405_and_other_paths_404() {
    let accounts = Accounts::with_ada().await;
    let service = accounts.service();
    for path in ["/login", "/validate"] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            let answer = ask(&service, method, path, None).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("POST"));
        }
    }
    for path in ["/", "/login/", "/LOGIN", "/validate/x", "/metrics"] {
        assert_eq!(
            ask(&service, "POST", path, None).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[tokio::test]
async fn with_mysql_away_logins_are_503_and_the_service_stays_ready() {
    let service = service(connect("mysql://root@127.0.0.1:1/auth"));
    let answer = login(&service, &basic("Ada@example.com", "hunter2")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert!(answer.body.ends_with("few seconds"), "{}", answer.body);

    let token = sign(&json!({"username": "Ada@example.com", "exp": now() + 60, "iat": now(), "admin": true}));
    assert_eq!(
        validate(&service, &format!("Bearer {token}")).await.status,
        StatusCode::OK
    );
    assert_eq!(ask(&service, "GET", "/healthz", None).await.status, StatusCode::OK);
    assert_eq!(ask(&service, "GET", "/readyz", None).await.status, StatusCode::OK);
    let verbose = ask(&service, "GET", "/readyz?verbose", None).await;
    assert_eq!(verbose.status, StatusCode::OK);
    assert_eq!(serde_json::from_str::<Value>(&verbose.body).unwrap()["degraded"], true);
}

#[tokio::test]
async fn a_token_outlives_a_password_change_by_at_most_what_is_remembered() {
    let accounts = Accounts::with_ada().await;
    let service = accounts.service();
    let token = login(&service, &basic("Ada@example.com", "hunter2")).await.body;
    let ada = "ada@example.com".parse().unwrap();
    assert!(
        auth::accounts::set_password(&*accounts.store, &ada, "hunter3")
            .await
            .unwrap()
    );
    // This replica remembers the account from the login; another one has nothing to remember.
    assert_eq!(
        validate(&service, &format!("Bearer {token}")).await.status,
        StatusCode::OK
    );
    validate(&accounts.service(), &format!("Bearer {token}"))
        .await
        .assert_is(403, "not authorized");
    // A login at this replica refreshes what it remembers.
    assert_eq!(
        login(&service, &basic("Ada@example.com", "hunter3")).await.status,
        StatusCode::OK
    );
    validate(&service, &format!("Bearer {token}"))
        .await
        .assert_is(403, "not authorized");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_logins_is_answered_in_part_and_the_rest_asked_to_come_back() {
    let accounts = Accounts::with_ada().await;
    let service = accounts.service();
    let header = basic("Ada@example.com", "wrong");
    let answers = (0..200).map(|_| {
        let (service, header) = (Arc::clone(&service), header.clone());
        tokio::spawn(async move { login(&service, &header).await.status.as_u16() })
    });
    let mut statuses = Vec::new();
    for answer in answers.collect::<Vec<_>>() {
        statuses.push(answer.await.unwrap());
    }
    assert!(
        statuses.iter().all(|status| [401, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(statuses.contains(&401) && statuses.contains(&503), "{statuses:?}");
    assert_eq!(
        login(&service, &basic("Ada@example.com", "hunter2")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn passwords_and_tokens_are_counted_by_what_they_were_found_to_be() {
    let accounts = Accounts::with_ada().await;
    let metrics = runtime::metrics::Metrics::default();
    let signer = auth::TokenSigner::new(SECRET).unwrap();
    let service = AuthService::new(accounts.store.clone(), signer, auth::PlaintextPasswords::Refuse);
    let service = Arc::new(service.counted_in(&metrics));
    let token = login(&service, &basic("Ada@example.com", "hunter2")).await.body;
    for (username, password) in [("Ada@example.com", "wrong"), ("nobody@example.com", "hunter2")] {
        login(&service, &basic(username, password)).await;
    }
    for token in [&*token, &token, &token, "a.b.c"] {
        validate(&service, &format!("Bearer {token}")).await;
    }
    let text = metrics.encode();
    for line in [
        "mp3_passwords_judged_total{outcome=\"good\"} 1",
        "mp3_passwords_judged_total{outcome=\"refused\"} 2",
        "mp3_tokens_judged_total{outcome=\"good\"} 3",
        "mp3_tokens_judged_total{outcome=\"refused\"} 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

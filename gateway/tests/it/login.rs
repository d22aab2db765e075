//! `POST /login`.

use crate::gateway::{ADA, Gateway, PASSWORD, Setup, basic};

#[tokio::test]
async fn the_body_of_a_login_is_the_token_alone() {
    let gateway = Gateway::start().await;
    let answer = gateway
        .call("POST", "/login", &[("Authorization", &basic(ADA, PASSWORD))])
        .await;
    let token = answer.text().to_owned();
    answer.assert_plain(200, &token);
    assert_eq!(token.split('.').count(), 3);
    let listed = gateway.call_as(&token, "GET", "/api/v1/jobs").await;
    assert_eq!(listed.status, 200);
}

#[tokio::test]
async fn no_or_malformed_basic_credentials_are_missing() {
    let gateway = Gateway::start().await;
    for header in [
        None,
        Some("Basic"),
        Some("Basic %%%"),
        Some("Bearer x"),
        Some("Basic YQ=="),
    ] {
        let headers: Vec<_> = header.into_iter().map(|value| ("Authorization", value)).collect();
        let answer = gateway.call("POST", "/login", &headers).await;
        answer.assert_plain(401, "missing credentials");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "));
    }
}

#[tokio::test]
async fn a_wrong_user_and_a_wrong_password_get_the_same_answer() {
    let gateway = Gateway::start().await;
    for (user, password) in [(ADA, "wrong password"), ("nobody@example.com", PASSWORD), ("", "")] {
        let answer = gateway
            .call("POST", "/login", &[("Authorization", &basic(user, password))])
            .await;
        answer.assert_plain(401, "invalid credentials");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "));
    }
}

#[tokio::test]
async fn an_auth_service_that_is_away_is_a_503_with_a_sentence() {
    let mut setup = Setup::new().await;
    setup.ports.authenticator = adapters::authn::connect("127.0.0.1:1").unwrap();
    let gateway = setup.start().await;
    for (method, target, header) in [
        ("POST", "/login", basic(ADA, PASSWORD)),
        ("GET", "/download?fid=0", "Bearer a.b.c".to_owned()),
        ("POST", "/upload", "Bearer a.b.c".to_owned()),
    ] {
        let answer = gateway.call(method, target, &[("Authorization", &header)]).await;
        answer.assert_plain(503, "the service is not available now, please try again later");
        assert!(answer.header("retry-after").unwrap().parse::<u32>().is_ok());
    }
    let answer = gateway.call_as("a.b.c", "GET", "/api/v1/jobs").await;
    answer.assert_problem(503, "unavailable");
    assert!(answer.header("retry-after").is_some());
}

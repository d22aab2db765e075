//! What holds for every route: methods, unknown paths, credentials, probes.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{AuthError, Authenticator, Claims, Credentials, PortError};

use crate::gateway::{ADA, Gateway, PASSWORD, Setup, basic, bearer, token};

/// The routes that need a token.
const GUARDED: [(&str, &str); 5] = [
    ("POST", "/upload"),
    ("GET", "/download?fid=64b7f3a2c9e77b0001a1b2c3"),
    ("GET", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs/64b7f3a2c9e77b0001a1b2c3"),
    ("DELETE", "/api/v1/jobs/64b7f3a2c9e77b0001a1b2c3"),
];

fn is_api(target: &str) -> bool {
    target.starts_with("/api/")
}

#[tokio::test]
async fn without_credentials_every_guarded_route_is_401() {
    let gateway = Gateway::start().await;
    for (method, target) in GUARDED {
        let answer = gateway.call(method, target, &[]).await;
        if is_api(target) {
            answer.assert_problem(401, "missing_credentials");
        } else {
            answer.assert_plain(401, "missing credentials");
        }
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
}

#[tokio::test]
async fn a_bad_token_and_another_scheme_are_403_on_the_frozen_routes_and_401_under_api() {
    let gateway = Gateway::start().await;
    let expired = bearer(&token(ADA, true, -3600));
    let good = gateway.login(ADA).await;
    let tampered = bearer(&format!("{}x", good));
    let none =
        "Bearer eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6ImFAYiIsImV4cCI6OTk5OTk5OTk5OSwiaWF0IjoxLCJhZG1pbiI6dHJ1ZX0.";
    for header in [&expired, &tampered, none, "Bearer x", &basic(ADA, "x"), &good] {
        for (method, target) in GUARDED {
            let answer = gateway.call(method, target, &[("Authorization", header)]).await;
            if is_api(target) {
                answer.assert_problem(401, "invalid_token");
                assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
            } else {
                answer.assert_plain(403, "not authorized");
            }
        }
    }
}

#[tokio::test]
async fn a_valid_token_without_admin_may_not_use_the_converter() {
    let gateway = Gateway::start().await;
    let header = bearer(&token(ADA, false, 3600));
    for (method, target) in GUARDED {
        let answer = gateway.call(method, target, &[("Authorization", &header)]).await;
        if is_api(target) {
            answer.assert_problem(403, "not_authorized");
        } else {
            answer.assert_plain(401, "not authorized");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
    }
}

#[tokio::test]
async fn other_methods_are_405_and_name_those_allowed() {
    let gateway = Gateway::start().await;
    for (method, target, allowed) in [
        ("GET", "/login", "POST"),
        ("HEAD", "/login", "POST"),
        ("PUT", "/upload", "POST"),
        ("GET", "/upload", "POST"),
        ("POST", "/download", "GET,HEAD"),
        ("DELETE", "/healthz", "GET,HEAD"),
    ] {
        let answer = gateway.call(method, target, &[]).await;
        assert_eq!(answer.status, 405, "{method} {target}");
        assert_eq!(answer.header("allow"), Some(allowed));
        if method != "HEAD" {
            answer.assert_plain(405, "method not allowed");
        }
    }
    let answer = gateway
        .call("PATCH", "/api/v1/jobs/64b7f3a2c9e77b0001a1b2c3", &[])
        .await;
    answer.assert_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn unknown_routes_are_404() {
    let gateway = Gateway::start().await;
    for target in ["/", "/uploads", "/login/", "/metrics"] {
        gateway.call("GET", target, &[]).await.assert_plain(404, "not found");
    }
    for target in ["/api/", "/api/v2/jobs", "/api/v1/jobs/1/2"] {
        let answer = gateway.call("GET", target, &[]).await;
        answer.assert_problem(404, "unknown_route");
    }
}

#[tokio::test]
async fn probes_are_answered_on_the_gateways_own_port() {
    let gateway = Gateway::start().await;
    for target in ["/healthz", "/readyz"] {
        assert_eq!(gateway.call("GET", target, &[]).await.status, 200);
    }
    let report = gateway.call("GET", "/readyz?verbose", &[]).await.json();
    assert_eq!(report["ready"], true);
    for dependency in ["job store", "blob store", "broker", "auth"] {
        assert_eq!(report["checks"][dependency], "ok", "{report}");
    }
}

/// A bug.
struct Panics;

#[async_trait]
impl Authenticator for Panics {
    async fn login(&self, _: &Credentials) -> Result<String, AuthError> {
        panic!("a bug")
    }
    async fn validate(&self, _: &str) -> Result<Claims, AuthError> {
        panic!("a bug")
    }
    async fn ping(&self) -> Result<(), PortError> {
        panic!("a bug")
    }
}

#[tokio::test]
async fn a_bug_is_a_500_that_says_nothing_and_the_next_request_is_served() {
    let mut setup = Setup::new().await;
    setup.ports.authenticator = Arc::new(Panics);
    let gateway = setup.start().await;
    let mut client = gateway.connect().await;
    let login = crate::gateway::head("POST", "/login", &[("Authorization", &basic(ADA, PASSWORD))]);
    for _ in 0..2 {
        client.send(&login).await;
        client.answer().await.assert_plain(500, "internal server error");
    }
    let answer = gateway.call_as("a.b.c", "GET", "/download").await;
    answer.assert_plain(500, "internal server error");
    for (method, target) in [
        ("GET", "/api/v1/jobs"),
        ("DELETE", "/api/v1/jobs/64b7f3a2c9e77b0001a1b2c3"),
    ] {
        let answer = gateway.call_as("a.b.c", method, target).await;
        answer.assert_problem(500, "internal_error");
        assert!(!answer.text().contains("bug"), "{}", answer.text());
    }
}

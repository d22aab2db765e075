//! `POST /login`.

use crate::client::{Answer, Client};
use crate::gateway::{ADA, BOB, Gateway, PASSWORD, Setup, basic, head};

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

/// A login from an address of this machine, with whatever else stands in its head.
async fn login_from(gateway: &Gateway, client: &str, user: &str, password: &str, more: &[(&str, &str)]) -> Answer {
    let credentials = basic(user, password);
    let headers = [&[("Authorization", &*credentials)], more].concat();
    let mut client = Client::connect_from(client, gateway.address).await;
    client.send(head("POST", "/login", &headers)).await;
    client.answer().await
}

#[track_caller]
fn assert_is_too_many(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer:?}");
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    answer.assert_plain(
        429,
        &format!("too many logins failed, please try again in {seconds} seconds"),
    );
}

#[tokio::test]
async fn a_thousand_guesses_are_hardly_judged_and_the_owner_logs_in_from_elsewhere() {
    let gateway = Gateway::start().await;
    let mut judged = 0;
    for n in 0..1000 {
        let answer = login_from(&gateway, "127.0.0.2", ADA, &format!("guess {n}"), &[]).await;
        if answer.status == 401 {
            answer.assert_plain(401, "invalid credentials");
            judged += 1;
        } else {
            assert_is_too_many(&answer);
        }
    }
    assert_eq!(judged, 5);
    // Not even the right password tells the guesser anything.
    assert_is_too_many(&login_from(&gateway, "127.0.0.2", ADA, PASSWORD, &[]).await);
    for (client, user) in [("127.0.0.1", ADA), ("127.0.0.2", BOB)] {
        assert_eq!(login_from(&gateway, client, user, PASSWORD, &[]).await.status, 200);
    }
}

#[tokio::test]
async fn guesses_at_many_accounts_count_for_their_address() {
    let mut setup = Setup::new().await;
    setup.settings.logins.login_failures_per_address = 7.try_into().unwrap();
    let gateway = setup.start().await;
    for n in 0..7 {
        let answer = login_from(&gateway, "127.0.0.2", &format!("user{n}@example.com"), "guess", &[]).await;
        assert_eq!(answer.status, 401);
    }
    assert_is_too_many(&login_from(&gateway, "127.0.0.2", ADA, PASSWORD, &[]).await);
    assert_eq!(login_from(&gateway, "127.0.0.3", ADA, PASSWORD, &[]).await.status, 200);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_forwarded_address_counts_and_elsewhere_the_peers() {
    let mut setup = Setup::new().await;
    setup.settings.trusted_proxies = "127.0.0.2".parse().unwrap();
    let gateway = setup.start().await;
    let from = async |peer: &str, forwarded: &str, password: &str| {
        login_from(&gateway, peer, ADA, password, &[("X-Forwarded-For", forwarded)]).await
    };
    for n in 0..5 {
        // The left-most entry is the guesser's own invention, another one each time.
        let forwarded = format!("192.0.2.{n}, 198.51.100.1");
        assert_eq!(from("127.0.0.2", &forwarded, "guess").await.status, 401);
    }
    assert_is_too_many(&from("127.0.0.2", "192.0.2.99, 198.51.100.1", PASSWORD).await);
    assert_eq!(from("127.0.0.2", "198.51.100.2", PASSWORD).await.status, 200);

    for n in 0..5 {
        assert_eq!(from("127.0.0.3", &format!("192.0.2.{n}"), "guess").await.status, 401);
    }
    assert_is_too_many(&from("127.0.0.3", "192.0.2.99", PASSWORD).await);
}

#[tokio::test]
async fn logins_that_nobody_can_judge_are_no_failures() {
    let mut setup = Setup::new().await;
    setup.ports.authenticator = adapters::authn::connect("127.0.0.1:1").unwrap();
    setup.settings.logins.login_failures_per_account = 1.try_into().unwrap();
    setup.settings.logins.login_failures_per_address = 1.try_into().unwrap();
    let gateway = setup.start().await;
    for _ in 0..3 {
        assert_eq!(login_from(&gateway, "127.0.0.1", ADA, PASSWORD, &[]).await.status, 503);
    }
}

#[tokio::test]
async fn logins_are_counted_by_how_they_ended() {
    let mut setup = Setup::new().await;
    setup.settings.logins.login_failures_per_account = 2.try_into().unwrap();
    let gateway = setup.start().await;
    for (password, times) in [(PASSWORD, 3), ("guess", 6)] {
        for _ in 0..times {
            login_from(&gateway, "127.0.0.1", ADA, password, &[]).await;
        }
    }
    gateway.call("POST", "/login", &[]).await;
    let text = gateway.metrics.encode();
    for (outcome, count) in [("token", 3), ("refused", 2), ("held_up", 4), ("missing", 1)] {
        let line = format!("mp3_logins_total{{outcome=\"{outcome}\"}} {count}");
        assert!(text.contains(&line), "{line}: {text}");
    }
}

//! What every [`UserStore`] keeps. One function a behaviour; each takes a store of its own, empty and never used
//! before.

#![expect(clippy::unwrap_used, reason = "a suite fails as a test does: by panicking")]

use std::sync::Arc;

use domain::{Address, PortError, Timestamp, User, UserStore};

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo";
const OTHER_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$dGFsc3RhbHM$aHNhaGhzYWhoc2Fo";

fn address(text: &str) -> Address {
    text.parse().expect("the suite's addresses are valid")
}

async fn found(store: &dyn UserStore, email: &str) -> User {
    store
        .find(&address(email))
        .await
        .expect("find answers")
        .expect("the account exists")
}

/// Absent is `Ok(None)`, and changing what is absent answers false.
pub async fn an_absent_account_is_none(store: Arc<dyn UserStore>) {
    let nobody = address("nobody@example.com");
    assert!(store.find(&nobody).await.unwrap().is_none());
    assert!(!store.set_password(&nobody, HASH).await.unwrap());
    assert!(!store.rehash(&nobody, "old", HASH).await.unwrap());
    assert!(!store.set_disabled(&nobody, true).await.unwrap());
    assert!(!store.set_disabled(&nobody, false).await.unwrap());
    assert!(!store.remove(&nobody).await.unwrap());
    assert!(store.list().await.unwrap().is_empty());
}

/// What is created is found, enabled and in its own spelling.
pub async fn a_created_account_is_found_as_it_was_spelt(store: Arc<dyn UserStore>) {
    store.create(&address("Ada@Example.com"), HASH).await.unwrap();
    for spelling in ["Ada@Example.com", "ada@example.com", "ADA@EXAMPLE.COM"] {
        let user = found(&*store, spelling).await;
        assert_eq!(user.email.as_str(), "Ada@Example.com");
        assert_eq!(user.password, HASH);
        assert!(user.disabled_at.is_none());
    }
}

/// A second account of one address is a conflict, in any spelling, and changes nothing.
pub async fn a_taken_address_is_a_conflict_in_any_spelling(store: Arc<dyn UserStore>) {
    store.create(&address("ada@example.com"), HASH).await.unwrap();
    for spelling in ["ada@example.com", "ADA@example.com", "ada@EXAMPLE.com"] {
        let refused = store.create(&address(spelling), OTHER_HASH).await;
        assert!(
            matches!(refused, Err(PortError::Conflict { .. })),
            "{spelling}: {refused:?}"
        );
    }
    assert_eq!(found(&*store, "ada@example.com").await.password, HASH);
    assert_eq!(store.list().await.unwrap().len(), 1);
}

/// Only A to Z fold: an accent, another alphabet and a lookalike make another account.
pub async fn letters_beyond_ascii_never_match_each_other(store: Arc<dyn UserStore>) {
    let distinct = [
        "a@x.com",
        "á@x.com",
        "Á@x.com",
        "ä@x.com",
        "а@x.com",  // Cyrillic
        "ａ@x.com", // full width
        "straße@x.com",
        "strasse@x.com",
        "ı@x.com",
        "i@x.com",
        "😀@x.com",
        "🎉@x.com",
    ];
    for email in distinct {
        assert!(store.find(&address(email)).await.unwrap().is_none(), "{email}");
        store.create(&address(email), email).await.unwrap();
    }
    for email in distinct {
        let user = found(&*store, email).await;
        assert_eq!((user.email.as_str(), user.password.as_str()), (email, email));
    }
    assert_eq!(found(&*store, "A@X.COM").await.email.as_str(), "a@x.com");
    assert_eq!(found(&*store, "STRAßE@X.COM").await.email.as_str(), "straße@x.com");
}

/// Characters that mean something in SQL are just characters.
pub async fn an_address_is_never_read_as_sql(store: Arc<dyn UserStore>) {
    store.create(&address("a@x.com"), HASH).await.unwrap();
    for odd in ["' OR '1'='1", "%", "_@x.com", "a@x.com' --", "a@x.com\\", "\"@x.com"] {
        assert!(store.find(&address(odd)).await.unwrap().is_none(), "{odd}");
        assert!(!store.remove(&address(odd)).await.unwrap(), "{odd}");
        store.create(&address(odd), odd).await.unwrap();
        assert_eq!(found(&*store, odd).await.password, odd);
    }
}

/// A new password voids the tokens issued until now, also those issued in this very second after another change.
pub async fn a_new_password_voids_earlier_tokens(store: Arc<dyn UserStore>) {
    store.create(&address("ada@example.com"), HASH).await.unwrap();
    assert!(
        store
            .set_password(&address("ADA@example.com"), OTHER_HASH)
            .await
            .unwrap()
    );
    let user = found(&*store, "ada@example.com").await;
    assert_eq!(user.password, OTHER_HASH);
    assert_voids_everything_until_now(&user);
    let mut last = user.tokens_valid_from;
    for _ in 0..3 {
        assert!(store.set_password(&user.email, HASH).await.unwrap());
        assert!(store.set_disabled(&user.email, true).await.unwrap());
        let next = found(&*store, "ada@example.com").await.tokens_valid_from;
        assert!(next > last, "{next:?} voids no more than {last:?}");
        last = next;
    }
}

/// `tokens_valid_from` lies behind this second's tokens, and a few seconds ahead at most.
fn assert_voids_everything_until_now(user: &User) {
    let now_ms = Timestamp::now().unix_ms();
    let from_ms = user.tokens_valid_from.expect("tokens are void").unix_ms();
    assert_eq!(from_ms % 1000, 0, "whole seconds");
    assert!(from_ms <= now_ms + 5000, "{from_ms} is too far ahead of {now_ms}");
    assert!(from_ms > now_ms - 60_000, "{from_ms} is too far behind {now_ms}");
}

/// A rehash happens only while the stored value is the one that was read, and leaves tokens alone.
pub async fn a_rehash_replaces_only_what_was_read(store: Arc<dyn UserStore>) {
    let ada = address("ada@example.com");
    store.create(&ada, "Plain Text ü").await.unwrap();
    let before = found(&*store, "ada@example.com").await;
    for stale in ["plain text ü", "Plain Text u", "Plain Text", "Plain Text ü2", ""] {
        assert!(!store.rehash(&ada, stale, HASH).await.unwrap(), "{stale:?}");
    }
    assert!(
        store
            .rehash(&address("ADA@example.com"), "Plain Text ü", HASH)
            .await
            .unwrap()
    );
    assert!(!store.rehash(&ada, "Plain Text ü", OTHER_HASH).await.unwrap());
    let after = found(&*store, "ada@example.com").await;
    assert_eq!(after.password, HASH);
    assert_eq!(after.tokens_valid_from, before.tokens_valid_from);
}

/// Setting what is set already is a change all the same: the account was there.
pub async fn repeating_a_change_finds_the_account_again(store: Arc<dyn UserStore>) {
    let ada = address("ada@example.com");
    store.create(&ada, HASH).await.unwrap();
    for _ in 0..2 {
        assert!(store.set_password(&ada, HASH).await.unwrap());
    }
    for disabled in [true, true, false, false] {
        assert!(store.set_disabled(&ada, disabled).await.unwrap());
    }
}

/// Disabling is remembered with its moment and voids tokens; enabling does not revive them.
pub async fn a_disabled_account_can_be_enabled_but_its_tokens_stay_void(store: Arc<dyn UserStore>) {
    let ada = address("ada@example.com");
    store.create(&ada, HASH).await.unwrap();
    assert!(store.set_disabled(&ada, true).await.unwrap());
    let disabled = found(&*store, "ada@example.com").await;
    assert!(disabled.disabled_at.is_some());
    assert_voids_everything_until_now(&disabled);
    assert!(store.set_disabled(&ada, false).await.unwrap());
    let enabled = found(&*store, "ada@example.com").await;
    assert!(enabled.disabled_at.is_none());
    assert_eq!(enabled.tokens_valid_from, disabled.tokens_valid_from);
    assert_eq!(enabled.password, HASH);
}

/// A removed account is gone, and one made again under its address does not honour the old one's tokens.
pub async fn a_removed_account_is_gone_and_its_tokens_stay_void(store: Arc<dyn UserStore>) {
    let ada = address("ada@example.com");
    store.create(&ada, HASH).await.unwrap();
    assert!(store.remove(&address("ADA@example.com")).await.unwrap());
    assert!(store.find(&ada).await.unwrap().is_none());
    assert!(!store.remove(&ada).await.unwrap());
    store.create(&ada, OTHER_HASH).await.unwrap();
    assert_voids_everything_until_now(&found(&*store, "ada@example.com").await);
}

/// The list is whole and ordered by id.
pub async fn the_list_is_whole_and_ordered_by_id(store: Arc<dyn UserStore>) {
    let emails = ["zoe@x.com", "Ada@x.com", "mia@x.com"];
    for email in emails {
        store.create(&address(email), HASH).await.unwrap();
    }
    let listed = store.list().await.unwrap();
    let spelt: Vec<&str> = listed.iter().map(|user| user.email.as_str()).collect();
    assert_eq!(spelt, emails);
    assert!(listed.is_sorted_by_key(|user| user.id));
}

/// The longest address there is fits, and a store that was never used answers a ping.
pub async fn the_longest_address_fits(store: Arc<dyn UserStore>) {
    store.ping().await.unwrap();
    let longest = format!("{}@example.com", "é".repeat(121));
    let longest = format!("{longest}{}", "x".repeat(255 - longest.len()));
    store.create(&address(&longest), HASH).await.unwrap();
    assert_eq!(found(&*store, &longest).await.email.as_str(), longest);
}

/// Two stores, as of two processes, meet a database that is not prepared: both come up and see the same accounts.
/// `stores` are of the same database.
pub async fn several_replicas_prepare_at_once(stores: Vec<Arc<dyn UserStore>>) {
    let mut replicas = tokio::task::JoinSet::new();
    for (index, store) in stores.iter().cloned().enumerate() {
        replicas.spawn(async move {
            let email = address(&format!("replica{index}@example.com"));
            store.create(&email, HASH).await?;
            store.find(&email).await
        });
    }
    for answer in replicas.join_all().await {
        answer.unwrap().expect("each replica finds its account");
    }
    for store in &stores {
        assert_eq!(store.list().await.unwrap().len(), stores.len());
    }
}

/// Of several that take one address at once, in different spellings, exactly one gets it.
/// `stores` are of the same database.
pub async fn one_of_several_gets_an_address(stores: Vec<Arc<dyn UserStore>>) {
    let mut replicas = tokio::task::JoinSet::new();
    for (index, store) in stores.iter().cloned().enumerate() {
        let mut email = "contested@example.com".to_owned();
        email[index..=index].make_ascii_uppercase();
        replicas.spawn(async move { store.create(&address(&email), HASH).await });
    }
    let outcomes = replicas.join_all().await;
    let conflicts = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(PortError::Conflict { .. })))
        .count();
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        1,
        "{outcomes:?}"
    );
    assert_eq!(conflicts, stores.len() - 1, "{outcomes:?}");
}

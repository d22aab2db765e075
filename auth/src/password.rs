//! Hashing and judging passwords. Everything here computes for tens of milliseconds: run it on a blocking thread.

use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{ARGON2ID_IDENT, Argon2, Params, PasswordHash};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// The longest password, in bytes. Longer ones are refused unread.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// What becomes of passwords that the original system stored as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PlaintextPasswords {
    /// They log in, and are replaced by their hash at the first success.
    #[default]
    Accept,
    /// They never log in; `user migrate-passwords` or `user passwd` helps.
    Refuse,
}

/// The text cannot become a password.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPassword {
    /// Nothing was given.
    #[error("the password is empty")]
    Empty,
    /// More than [`MAX_PASSWORD_BYTES`].
    #[error("the password is longer than {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    /// HTTP Basic cannot carry it (RFC 7617 section 2).
    #[error("the password holds a control character, which a login cannot send")]
    ControlCharacter,
    /// The system gave no randomness or memory.
    #[error("cannot hash the password")]
    Hash(#[source] password_hash::Error),
}

/// What a login's password is worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not the account's, or there is no account.
    Wrong,
    /// What is stored is neither a hash nor plain text that may be accepted: nobody can log in.
    Unusable,
    /// The account's.
    Right,
    /// The account's; what is stored should become this hash.
    RightAndOutdated(String),
}

/// Whether a login could send this password.
pub(crate) fn check(password: &str) -> Result<(), InvalidPassword> {
    if password.is_empty() {
        return Err(InvalidPassword::Empty);
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(InvalidPassword::TooLong);
    }
    if password.chars().any(char::is_control) {
        return Err(InvalidPassword::ControlCharacter);
    }
    Ok(())
}

/// The argon2id PHC string of a new password: 19 MiB, 2 passes, 1 lane, a random salt (OWASP's minimum).
pub(crate) fn hash(password: &str) -> Result<String, InvalidPassword> {
    check(password)?;
    hash_unchecked(password).map_err(InvalidPassword::Hash)
}

fn hash_unchecked(password: &str) -> Result<String, password_hash::Error> {
    let hash: PasswordHash = argon2().hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

/// Judges `password` against what is stored, if anything is, at the cost of one hash whatever the answer. (A right
/// password that is outdated may cost a second one.)
pub(crate) fn judge(stored: Option<&str>, password: &str, plaintext: PlaintextPasswords) -> Verdict {
    let stored = match stored {
        Some(stored) if password.len() <= MAX_PASSWORD_BYTES => stored,
        _ => {
            spend_one_hash();
            return Verdict::Wrong;
        }
    };
    if stored.starts_with('$') {
        return judge_hash(stored, password);
    }
    if stored.is_empty() || plaintext == PlaintextPasswords::Refuse {
        spend_one_hash();
        return Verdict::Unusable;
    }
    if !same_text(stored, password) {
        spend_one_hash();
        return Verdict::Wrong;
    }
    hash_unchecked(password).map_or(Verdict::Right, Verdict::RightAndOutdated)
}

fn judge_hash(stored: &str, password: &str) -> Verdict {
    let Some(stored) = PasswordHash::new(stored).ok().filter(|hash| hash.hash.is_some()) else {
        spend_one_hash();
        return Verdict::Unusable;
    };
    match argon2().verify_password(password.as_bytes(), &stored) {
        Ok(()) if is_outdated(&stored) => hash_unchecked(password).map_or(Verdict::Right, Verdict::RightAndOutdated),
        Ok(()) => Verdict::Right,
        Err(password_hash::Error::PasswordInvalid) => Verdict::Wrong,
        Err(_) => {
            spend_one_hash();
            Verdict::Unusable
        }
    }
}

/// Whether a hash is of another kind than ours, or cheaper to guess at.
fn is_outdated(stored: &PasswordHash) -> bool {
    let work = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
    stored.algorithm != ARGON2ID_IDENT
        || Params::try_from(stored).is_ok_and(|params| work(&params) < work(&Params::default()))
}

/// What computes one hash.
fn argon2() -> Argon2<'static> {
    #[cfg(test)]
    tests::COMPUTATIONS.set(tests::COMPUTATIONS.get() + 1);
    Argon2::default()
}

/// Takes as long as judging a password, and judges nothing.
fn spend_one_hash() {
    let mut output = [0; 32];
    let spent = argon2().hash_password_into(b"nobody's", b"nobody's salt", &mut output);
    std::hint::black_box((spent.is_ok(), output));
}

/// Compares without telling by its duration where, or in how many characters, two texts differ.
fn same_text(left: &str, right: &str) -> bool {
    let digest_of = |text: &str| digest(&SHA256, text.as_bytes());
    verify_slices_are_equal(digest_of(left).as_ref(), digest_of(right).as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use PlaintextPasswords::{Accept, Refuse};

    thread_local! {
        /// How many hashes this thread computed.
        pub(super) static COMPUTATIONS: Cell<u32> = const { Cell::new(0) };
    }

    #[test]
    fn every_refusal_costs_exactly_one_hash_and_so_does_a_success() {
        let (stored, long) = (hash("hunter2").unwrap(), "x".repeat(MAX_PASSWORD_BYTES + 1));
        for (account, password, plaintext, verdict) in [
            (None, "hunter2", Accept, Verdict::Wrong),
            (None, &*long, Accept, Verdict::Wrong),
            (Some(&*stored), "hunter3", Accept, Verdict::Wrong),
            (Some(&*stored), "", Accept, Verdict::Wrong),
            (Some(&*stored), &*long, Accept, Verdict::Wrong),
            (Some("Admin123"), "admin123", Accept, Verdict::Wrong),
            (Some("Admin123"), "Admin123", Refuse, Verdict::Unusable),
            (Some(""), "", Accept, Verdict::Unusable),
            (Some("$2b$12$no"), "hunter2", Accept, Verdict::Unusable),
            (Some(&*stored), "hunter2", Accept, Verdict::Right),
        ] {
            COMPUTATIONS.set(0);
            assert_eq!(judge(account, password, plaintext), verdict);
            assert_eq!(COMPUTATIONS.get(), 1, "{account:?} {password:.9}");
        }
        COMPUTATIONS.set(0);
        assert!(matches!(
            judge(Some("Admin123"), "Admin123", Accept),
            Verdict::RightAndOutdated(_)
        ));
        assert_eq!(COMPUTATIONS.get(), 1);
    }

    #[test]
    fn a_hash_is_argon2id_with_the_documented_cost_and_a_salt_of_its_own() {
        let (first, second) = (hash("hunter2").unwrap(), hash("hunter2").unwrap());
        assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
        assert_ne!(first, second);
        assert_eq!(judge(Some(&first), "hunter2", Refuse), Verdict::Right);
        assert_eq!(judge(Some(&first), "hunter3", Refuse), Verdict::Wrong);
        assert_eq!(judge(Some(&first), "", Refuse), Verdict::Wrong);
    }

    #[test]
    fn a_hash_of_another_program_is_understood() {
        // argon2-cffi 23.1, `PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)`-like values of the RFC's
        // kind.
        let foreign = Argon2::new(
            argon2::Algorithm::Argon2i,
            argon2::Version::V0x13,
            Params::new(1024, 4, 2, None).unwrap(),
        );
        let stored = foreign.hash_password(b"hunter2").unwrap().to_string();
        let Verdict::RightAndOutdated(better) = judge(Some(&stored), "hunter2", Accept) else {
            panic!("a weaker hash is to be replaced");
        };
        assert_eq!(judge(Some(&better), "hunter2", Accept), Verdict::Right);
        assert_eq!(judge(Some(&stored), "hunter3", Accept), Verdict::Wrong);
    }

    #[test]
    fn a_costlier_hash_is_left_alone() {
        let costlier = Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            Params::new(32 * 1024, 2, 1, None).unwrap(),
        );
        let stored = costlier.hash_password(b"hunter2").unwrap().to_string();
        assert_eq!(judge(Some(&stored), "hunter2", Accept), Verdict::Right);
    }

    #[test]
    fn plain_text_is_accepted_once_and_comes_back_hashed() {
        let Verdict::RightAndOutdated(hashed) = judge(Some("Admin123"), "Admin123", Accept) else {
            panic!("the plain text is right");
        };
        assert_eq!(judge(Some(&hashed), "Admin123", Refuse), Verdict::Right);
        for wrong in ["admin123", "Admin12", "Admin1234", "", "Admin123 "] {
            assert_eq!(judge(Some("Admin123"), wrong, Accept), Verdict::Wrong, "{wrong:?}");
        }
    }

    #[test]
    fn plain_text_can_be_forbidden() {
        assert_eq!(judge(Some("Admin123"), "Admin123", Refuse), Verdict::Unusable);
    }

    #[test]
    fn what_cannot_be_a_password_lets_nobody_in() {
        for stored in [
            "",
            "$",
            "$2b$12$abcdefghijklmnopqrstuuKj0vAL3pYDkSQvXWYAqA4zS0UyaC5eK",
            "$argon2id$",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
            "$argon2id$v=19$m=1,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
        ] {
            assert_eq!(judge(Some(stored), stored, Accept), Verdict::Unusable, "{stored:?}");
            assert_eq!(judge(Some(stored), "", Accept), Verdict::Unusable, "{stored:?}");
        }
        assert_eq!(judge(None, "", Accept), Verdict::Wrong);
    }

    #[test]
    fn an_overlong_password_is_wrong_even_where_it_is_stored() {
        let long = "x".repeat(MAX_PASSWORD_BYTES + 1);
        assert_eq!(judge(Some(&long), &long, Accept), Verdict::Wrong);
        let longest = "x".repeat(MAX_PASSWORD_BYTES);
        let stored = hash(&longest).unwrap();
        assert_eq!(judge(Some(&stored), &longest, Accept), Verdict::Right);
    }

    #[test]
    fn a_new_password_must_be_one_a_login_can_send() {
        assert!(matches!(hash(""), Err(InvalidPassword::Empty)));
        assert!(matches!(hash("a\nb"), Err(InvalidPassword::ControlCharacter)));
        assert!(matches!(hash(&"x".repeat(1025)), Err(InvalidPassword::TooLong)));
        assert!(hash("pä ß:😀").is_ok());
    }
}

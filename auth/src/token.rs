//! Tokens: JWTs signed with HS256, and nothing else.

use domain::{Address, Claims};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

/// How long a token lasts: one day, as in the original system.
pub const TOKEN_LIFETIME_SECONDS: i64 = 24 * 60 * 60;
/// The shortest secret: as long as what HS256 computes (RFC 7518 section 3.2).
pub const MIN_SECRET_BYTES: usize = 32;
/// By how much the clocks of two replicas may differ.
const LEEWAY_SECONDS: u64 = 5;

/// Signs tokens with the shared secret and reads them.
pub struct TokenSigner {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
}

/// The secret is too short to sign with.
#[derive(Debug, thiserror::Error)]
#[error("JWT_SECRET has {len_bytes} bytes and needs at least {MIN_SECRET_BYTES}: `openssl rand -hex 32` makes one")]
pub struct WeakSecret {
    /// How long it is.
    pub len_bytes: usize,
}

impl TokenSigner {
    /// Signs with `secret`, the bytes of `JWT_SECRET` as they are.
    ///
    /// # Errors
    /// [`WeakSecret`] below 32 bytes: such a key is guessed from a single token.
    pub fn new(secret: &str) -> Result<Self, WeakSecret> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(WeakSecret {
                len_bytes: secret.len(),
            });
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        Ok(Self {
            signing: EncodingKey::from_secret(secret.as_bytes()),
            verifying: DecodingKey::from_secret(secret.as_bytes()),
            validation,
        })
    }

    /// A token for an account, issued at `iat` (seconds since 1970), for one day.
    pub(crate) fn sign(&self, username: Address, iat: i64) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            username,
            exp: iat + TOKEN_LIFETIME_SECONDS,
            iat,
            admin: true,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
    }

    /// What a token says, if it was signed with the secret, by HS256, is in force, and says everything in the right
    /// type. Keys that a token's header brings along are not looked at.
    pub(crate) fn read(&self, token: &str) -> Option<Claims> {
        let token = jsonwebtoken::decode::<Claims>(token, &self.verifying, &self.validation).ok()?;
        // RFC 7515 section 4.1.11: what must be understood is not understood here.
        token.header.crit.is_none().then_some(token.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
    use domain::Timestamp;
    use serde_json::{Value, json};

    const SECRET: &str = "a secret of thirty-two bytes or more";

    fn now() -> i64 {
        Timestamp::now().unix_ms() / 1000
    }

    fn claims() -> Value {
        json!({"username": "Ada@example.com", "exp": now() + 60, "iat": now(), "admin": true})
    }

    fn hmac(algorithm: aws_lc_rs::hmac::Algorithm, secret: &str, text: &str) -> String {
        let key = aws_lc_rs::hmac::Key::new(algorithm, secret.as_bytes());
        BASE64URL.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()))
    }

    /// A token with any header and body, signed with HMAC-SHA-256 whatever the header says.
    fn forge(header: &Value, body: &str, secret: &str) -> String {
        let text = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(body));
        let signature = hmac(aws_lc_rs::hmac::HMAC_SHA256, secret, &text);
        format!("{text}.{signature}")
    }

    fn with_claims(claims: &Value) -> String {
        forge(&json!({"alg": "HS256", "typ": "JWT"}), &claims.to_string(), SECRET)
    }

    fn signer() -> TokenSigner {
        TokenSigner::new(SECRET).unwrap()
    }

    #[test]
    fn a_signed_token_is_read_back() {
        let iat = now();
        let token = signer().sign("Ada@example.com".parse().unwrap(), iat).unwrap();
        let claims = signer().read(&token).unwrap();
        assert_eq!(claims.username.as_str(), "Ada@example.com");
        assert_eq!((claims.iat, claims.exp, claims.admin), (iat, iat + 86_400, true));
    }

    #[test]
    fn a_token_of_the_original_service_is_read() {
        // PyJWT orders the claims as the original service gives them.
        let body = format!(
            r#"{{"username": "a@email.com", "exp": {}, "iat": {}, "admin": true}}"#,
            now() + 60,
            now()
        );
        for header in [
            json!({"alg": "HS256", "typ": "JWT"}),
            json!({"typ": "JWT", "alg": "HS256"}),
            json!({"alg": "HS256"}),
        ] {
            assert!(signer().read(&forge(&header, &body, SECRET)).is_some(), "{header}");
        }
    }

    #[test]
    fn a_valid_token_without_admin_rights_is_read_as_such() {
        let mut claims = claims();
        claims["admin"] = json!(false);
        assert!(!signer().read(&with_claims(&claims)).unwrap().admin);
    }

    #[test]
    fn an_expired_token_is_refused() {
        for seconds_ago in [6, 60, 86_400, 1_700_000_000] {
            let mut claims = claims();
            claims["exp"] = json!(now() - seconds_ago);
            assert_eq!(signer().read(&with_claims(&claims)), None, "{seconds_ago} s ago");
        }
    }

    #[test]
    fn another_algorithm_is_refused_whatever_signed_it() {
        for algorithm in [
            "none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA", "hs256",
        ] {
            let header = json!({"alg": algorithm, "typ": "JWT"});
            let token = forge(&header, &claims().to_string(), SECRET);
            assert_eq!(signer().read(&token), None, "{algorithm}");
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            assert_eq!(signer().read(&unsigned), None, "{algorithm} without a signature");
        }
        for header in [
            json!({}),
            json!({"alg": null}),
            json!({"alg": ["HS256"]}),
            json!({"alg": 256}),
        ] {
            assert_eq!(
                signer().read(&forge(&header, &claims().to_string(), SECRET)),
                None,
                "{header}"
            );
        }
    }

    #[test]
    fn a_longer_hmac_under_its_own_name_is_refused() {
        let header = BASE64URL.encode(json!({"alg": "HS512", "typ": "JWT"}).to_string());
        let text = format!("{header}.{}", BASE64URL.encode(claims().to_string()));
        let token = format!("{text}.{}", hmac(aws_lc_rs::hmac::HMAC_SHA512, SECRET, &text));
        assert_eq!(signer().read(&token), None);
    }

    #[test]
    fn an_rsa_public_key_is_not_taken_for_the_secret() {
        // The forger knows the "public key" and signs with its text, hoping that the verifier uses it as an HMAC key.
        let public_key = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----\n";
        for algorithm in ["HS256", "RS256"] {
            let header =
                json!({"alg": algorithm, "typ": "JWT", "jwk": {"kty": "oct", "k": BASE64URL.encode(public_key)}});
            let token = forge(&header, &claims().to_string(), public_key);
            assert_eq!(signer().read(&token), None, "{algorithm}");
        }
    }

    #[test]
    fn keys_in_the_header_are_not_used_and_critical_extensions_are_refused() {
        let key = json!({"kty": "oct", "k": BASE64URL.encode("the forger's own key, long enough to be one")});
        let forged = [
            json!({"alg": "HS256", "jwk": key}),
            json!({"alg": "HS256", "jku": "http://127.0.0.1:1/keys"}),
            json!({"alg": "HS256", "x5u": "http://127.0.0.1:1/keys"}),
            json!({"alg": "HS256", "kid": "../../../../dev/null"}),
        ];
        for header in forged {
            let token = forge(
                &header,
                &claims().to_string(),
                "the forger's own key, long enough to be one",
            );
            assert_eq!(signer().read(&token), None, "{header}");
        }
        let critical = json!({"alg": "HS256", "crit": ["exp"]});
        assert_eq!(signer().read(&forge(&critical, &claims().to_string(), SECRET)), None);
    }

    #[test]
    fn another_secret_is_refused() {
        for secret in [
            "",
            "a secret of thirty-two bytes or mor",
            "A secret of thirty-two bytes or more",
        ] {
            let token = forge(&json!({"alg": "HS256"}), &claims().to_string(), secret);
            assert_eq!(signer().read(&token), None, "{secret:?}");
        }
    }

    #[test]
    fn a_token_changed_anywhere_is_refused() {
        let token = with_claims(&claims());
        assert!(signer().read(&token).is_some());
        for position in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(signer().read(&changed), None, "at {position}");
        }
        let (text, signature) = token.rsplit_once('.').unwrap();
        for mangled in [
            format!("{text}."),
            text.to_owned(),
            format!("{token}."),
            format!("{token}.{signature}"),
            format!("{token}="),
            format!(" {token}"),
            format!(".{token}"),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(signer().read(&mangled), None, "{mangled}");
        }
    }

    #[test]
    fn a_claim_that_is_missing_or_of_another_type_is_refused() {
        for claim in ["username", "exp", "iat"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(claim);
            assert_eq!(signer().read(&with_claims(&claims)), None, "without {claim}");
        }
        let mut silent = claims();
        silent.as_object_mut().unwrap().remove("admin");
        assert!(
            !signer().read(&with_claims(&silent)).unwrap().admin,
            "who does not say may not"
        );
        let soon = now() + 60;
        let wrong = [
            ("exp", json!(soon.to_string())),
            ("exp", json!(soon as f64 + 0.5)),
            ("exp", json!(1e300)),
            ("exp", json!(-1)),
            ("exp", json!(0)),
            ("exp", json!(u64::MAX)),
            ("exp", Value::Null),
            ("exp", json!([soon])),
            ("exp", json!(true)),
            ("iat", json!(now().to_string())),
            ("iat", json!(1.5)),
            ("iat", Value::Null),
            ("nbf", json!(soon)),
            ("nbf", json!("now")),
            ("aud", json!("somebody else")),
            ("aud", json!(["somebody else"])),
            ("admin", json!("true")),
            ("admin", json!(1)),
            ("username", json!("")),
            ("username", json!(7)),
            ("username", json!("a@b\r\nBcc: c@d")),
            ("username", json!(["Ada@example.com"])),
        ];
        for (claim, value) in wrong {
            let mut claims = claims();
            claims[claim] = value.clone();
            assert_eq!(signer().read(&with_claims(&claims)), None, "{claim}: {value}");
        }
        for body in ["", "null", "[]", "{}", "\"text\"", "{", "\u{0}"] {
            let token = forge(&json!({"alg": "HS256"}), body, SECRET);
            assert_eq!(signer().read(&token), None, "{body:?}");
        }
    }

    #[test]
    fn a_claim_given_twice_is_refused() {
        let body = format!(
            r#"{{"username": "a@x", "username": "b@x", "exp": {}, "iat": 1, "admin": true}}"#,
            now() + 60
        );
        assert_eq!(signer().read(&forge(&json!({"alg": "HS256"}), &body, SECRET)), None);
    }

    #[test]
    fn a_secret_below_32_bytes_is_refused() {
        assert_eq!(TokenSigner::new(&"x".repeat(31)).err().unwrap().len_bytes, 31);
        assert!(TokenSigner::new("").is_err());
        assert!(TokenSigner::new(&"x".repeat(32)).is_ok());
    }
}

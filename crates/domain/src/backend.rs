//! A URL whose scheme chooses a port's adapter.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use url::Url;

/// The address of a backend, such as `mysql://auth:secret@mysql:3306/auth` or `file:data/blobs`.
///
/// The scheme chooses the adapter. `Display` and `Debug` leave user and password out.
#[derive(Clone, PartialEq, Eq)]
pub struct BackendUrl {
    scheme: String,
    text: String,
}

/// The text is not a URL with a scheme.
#[derive(Debug, thiserror::Error)]
#[error("not a URL: expected SCHEME:..., such as `file:data/blobs` or `mongodb://mongodb:27017`")]
pub struct InvalidBackendUrl;

impl BackendUrl {
    /// The URL of something on this machine's disk, such as `sqlite:data/jobs.db`. The path may hold any character but
    /// `?`; what is not UTF-8 is replaced.
    pub fn from_path(scheme: &str, path: &Path) -> Self {
        Self {
            scheme: scheme.to_ascii_lowercase(),
            text: format!("{scheme}:{}", path.display()),
        }
    }

    /// The part before the colon, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The whole URL, credentials included. Not for logs.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The path of a `file:` or `sqlite:` URL as it is written: `file:data/x` is relative, `file:/data/x` and
    /// `file:///data/x` are absolute. Anything after `?` is dropped.
    pub fn path(&self) -> &str {
        let rest = &self.text[self.scheme.len() + 1..];
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        rest.split('?').next().unwrap_or(rest)
    }
}

impl FromStr for BackendUrl {
    type Err = InvalidBackendUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBackendUrl> {
        let text = text.trim();
        let (scheme, _) = text.split_once(':').ok_or(InvalidBackendUrl)?;
        let valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !valid {
            return Err(InvalidBackendUrl);
        }
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(&self.text) {
            Ok(url) if url.has_host() => {
                write!(f, "{}://{}", self.scheme, url.host_str().unwrap_or_default())?;
                url.port().map_or(Ok(()), |port| write!(f, ":{port}"))?;
                f.write_str(url.path())
            }
            // Several hosts (a MongoDB replica set) or an odd password: say less rather than too much.
            _ if self.text.contains('@') => write!(f, "{}://...", self.scheme),
            _ => write!(f, "{}:{}", self.scheme, self.path()),
        }
    }
}

impl fmt::Debug for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        for text in [
            "mysql://auth:hunter2@mysql:3306/auth",
            "amqp://u:hunter2@rabbitmq:5672/%2f",
            "mongodb://u:hunter2@a:1,b:2/x",
            "smtp://u:hunter2:@mail",
        ] {
            let url: BackendUrl = text.parse().unwrap();
            assert!(!format!("{url} {url:?}").contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn paths_may_be_relative_or_absolute() {
        for (text, path) in [
            ("file:data/blobs", "data/blobs"),
            ("file:///srv/blobs", "/srv/blobs"),
            ("sqlite:data/jobs.db?mode=rwc", "data/jobs.db"),
            ("memory:", ""),
        ] {
            assert_eq!(text.parse::<BackendUrl>().unwrap().path(), path);
        }
    }

    #[test]
    fn text_without_a_scheme_is_refused() {
        assert!("localhost".parse::<BackendUrl>().is_err());
        assert!("://x".parse::<BackendUrl>().is_err());
    }
}

//! How a port fails.

use std::borrow::Cow;
use std::fmt;

/// The cause below a [`PortError`], kept for the log.
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error with all its causes, as one line of text for a log: JSON log lines hold an error's own words only.
///
/// ```
/// # let error = std::io::Error::other("connection refused");
/// let line = domain::Chain(&error).to_string();
/// ```
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

/// Why a port could not do what was asked, sorted by what the caller does next. Never the owner's fault.
///
/// The message names the operation and is safe to log; it never holds a secret, an address or a URL with
/// credentials.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The server behind the port is away, slow or restarting: try again later.
    #[error("{operation}: not available")]
    Unavailable {
        /// What was being done.
        operation: Cow<'static, str>,
        /// The driver's error.
        #[source]
        source: Source,
    },
    /// The id, the address or the name is taken: choose another, or take what is there.
    #[error("{operation}: already exists")]
    Conflict {
        /// What was being done.
        operation: Cow<'static, str>,
    },
    /// No space left: refuse new work until somebody makes room.
    #[error("{operation}: no space left")]
    Full {
        /// What was being done.
        operation: Cow<'static, str>,
    },
    /// What is stored is not what was put there, or not what this version understands: an operator must look.
    #[error("{operation}: stored data is damaged or foreign: {what}")]
    Corrupt {
        /// What was being done.
        operation: Cow<'static, str>,
        /// Which data, and how it differs.
        what: String,
    },
}

impl PortError {
    /// The server behind the port failed with `source` while `operation` ran.
    pub fn unavailable(operation: impl Into<Cow<'static, str>>, source: impl Into<Source>) -> Self {
        Self::Unavailable {
            operation: operation.into(),
            source: source.into(),
        }
    }

    /// `operation` met something of the same name.
    pub fn conflict(operation: impl Into<Cow<'static, str>>) -> Self {
        Self::Conflict {
            operation: operation.into(),
        }
    }

    /// `operation` found stored data it cannot use.
    pub fn corrupt(operation: impl Into<Cow<'static, str>>, what: impl Into<String>) -> Self {
        Self::Corrupt {
            operation: operation.into(),
            what: what.into(),
        }
    }
}

//! The data directory of the single process: its lock, and the secrets it makes by itself.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rand::Rng as _;
use rand::distr::Alphanumeric;

/// A directory that holds everything the single process keeps: `users.db`, `jobs.db`, `blobs/`, `mail/`, `secrets/`.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// The hold of one `serve` on its data directory; ends with the process.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another `serve` uses it.
    #[error("`{0}` is in use by another `mp3converter serve`; stop it, or set MP3_DATA_DIR to another directory")]
    InUse(PathBuf),
    /// It belongs to another user.
    #[error(
        "`{path}` belongs to user {owner} and this runs as user {user}; run as its owner (in a container: \
         --user {owner}), or give it to the other: chown {user} {path}"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// The system refuses.
    #[error("cannot use the data directory: `{path}`")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl DataDir {
    /// The directory at `path`, made when it is missing, readable by its owner alone.
    ///
    /// # Errors
    /// The system refuses.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        make_private(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the directory for one `serve`.
    ///
    /// # Errors
    /// `InUse` while another holds it.
    pub fn lock(&self) -> Result<DataDirLock, DataDirError> {
        let path = self.0.join("lock");
        let file = File::create(&path).map_err(|source| DataDirError::Io {
            path: path.clone(),
            source,
        })?;
        match file.try_lock() {
            Ok(()) => Ok(DataDirLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(DataDirError::InUse(self.0.clone())),
            Err(fs::TryLockError::Error(source)) => Err(DataDirError::Io { path, source }),
        }
    }

    /// The secret in `secrets/NAME`, mode 0600; made from 32 random bytes the first time.
    ///
    /// # Errors
    /// The system refuses.
    pub fn secret(&self, name: &str) -> Result<String, DataDirError> {
        let path = self.secret_path(name)?;
        let error = |source| DataDirError::Io {
            path: path.clone(),
            source,
        };
        let bytes: [u8; 32] = rand::random();
        let fresh: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match write_new(&path, &fresh) {
            Ok(()) => Ok(fresh),
            Err(refused) if refused.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(&path)
                .map(|secret| secret.trim_end().to_owned())
                .map_err(error),
            Err(refused) => Err(error(refused)),
        }
    }

    /// Keeps a text in `secrets/NAME`, mode 0600, in place of an older one, and says where.
    ///
    /// # Errors
    /// The system refuses.
    pub fn keep_secret(&self, name: &str, text: &str) -> Result<PathBuf, DataDirError> {
        let path = self.secret_path(name)?;
        let written = match fs::remove_file(&path) {
            Err(refused) if refused.kind() != io::ErrorKind::NotFound => Err(refused),
            _ => write_new(&path, text),
        };
        written.map_err(|source| DataDirError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    fn secret_path(&self, name: &str) -> Result<PathBuf, DataDirError> {
        let directory = self.0.join("secrets");
        make_private(&directory)?;
        Ok(directory.join(name))
    }
}

/// A password nobody chose: 20 letters and digits, 119 bits.
pub(crate) fn random_password() -> String {
    rand::rng().sample_iter(Alphanumeric).take(20).map(char::from).collect()
}

fn make_private(path: &Path) -> Result<(), DataDirError> {
    let private = || {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
    };
    let user = rustix::process::geteuid().as_raw();
    private().map_err(|source| match fs::metadata(path) {
        Ok(found) if source.kind() == io::ErrorKind::PermissionDenied && found.uid() != user => DataDirError::Foreign {
            path: path.to_owned(),
            owner: found.uid(),
            user,
        },
        _ => DataDirError::Io {
            path: path.to_owned(),
            source,
        },
    })
}

/// Writes a new file, whole or not at all, whatever happens in between.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|refused| refused.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_private() {
        let scratch = tempfile::tempdir().unwrap();
        let data = DataDir::open(&scratch.path().join("data")).unwrap();
        let secret = data.secret("jwt").unwrap();
        assert_eq!(secret.len(), 64);
        assert_eq!(data.secret("jwt").unwrap(), secret);
        let mode = fs::metadata(scratch.path().join("data/secrets/jwt"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_directory_in_use_is_not_taken_twice() {
        let scratch = tempfile::tempdir().unwrap();
        let data = DataDir::open(scratch.path()).unwrap();
        let held = data.lock().unwrap();
        assert!(matches!(data.lock(), Err(DataDirError::InUse(_))));
        drop(held);
        data.lock().unwrap();
    }
}

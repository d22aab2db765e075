//! Where `convert` puts the MP3: nowhere until it is complete.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// The place that `OUT` names.
pub(crate) enum Output {
    /// Standard output.
    Standard,
    /// A pipe or a device, which is written to and never replaced.
    Device(PathBuf),
    /// A file, there or not; where `OUT` is a symbolic link, the file it leads to.
    File(PathBuf),
}

impl Output {
    /// # Errors
    /// `OUT` is a directory, or cannot be looked at.
    pub(crate) fn named(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Standard);
        }
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(there) if there.is_file() => fs::canonicalize(path).map(Self::File),
            Ok(_) => Ok(Self::Device(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::File(path.to_owned())),
            Err(error) => Err(error),
        }
    }

    /// A file to write to in the meantime: beside the file it becomes, so that it can be renamed.
    pub(crate) fn scratch(&self) -> io::Result<NamedTempFile> {
        let Self::File(path) = self else {
            return NamedTempFile::new();
        };
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        let mut builder = Builder::new();
        // Like any new file: for everybody, less what the user's mask takes away.
        builder
            .prefix(".mp3converter-")
            .suffix(".part")
            .permissions(Permissions::from_mode(0o666));
        builder.tempfile_in(directory)
    }

    /// Makes the complete MP3 what `OUT` names.
    pub(crate) fn complete(&self, mut scratch: NamedTempFile) -> io::Result<()> {
        match self {
            Self::Standard => copy(scratch.as_file_mut(), &mut io::stdout().lock()),
            Self::Device(path) => copy(scratch.as_file_mut(), &mut OpenOptions::new().write(true).open(path)?),
            Self::File(path) => {
                if let Ok(old) = fs::metadata(path) {
                    scratch.as_file().set_permissions(old.permissions())?;
                }
                scratch.as_file().sync_all()?;
                scratch.persist(path).map_err(|refused| refused.error)?;
                Ok(())
            }
        }
    }
}

fn copy(scratch: &mut File, to: &mut dyn io::Write) -> io::Result<()> {
    scratch.seek(SeekFrom::Start(0))?;
    io::copy(scratch, to)?;
    to.flush()
}

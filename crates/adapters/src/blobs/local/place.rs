//! The directory of one bucket and the names in it.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{Fid, PortError, Space};

use super::blocking::io_error;

/// What an unfinished file leaves: its bytes, its metadata, its metadata being written.
const PARTS: [&str; 3] = [".part", ".json", ".json.part"];

/// One bucket's directory. Every path in it is made from an id's 24 digits, so none leads out of it.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<PathBuf>);

impl Place {
    /// Opens `directory`, making it and what leads to it, for this user alone, when it is missing.
    pub(super) fn open(directory: PathBuf) -> Result<Self, Error> {
        let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        // A file is as durable as the names that lead to it.
        for made in missing {
            let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(Self(Arc::new(directory)))
    }

    pub(super) fn blob(&self, id: Fid) -> PathBuf {
        self.0.join(id.to_string())
    }

    pub(super) fn part(&self, id: Fid) -> PathBuf {
        self.0.join(format!("{id}.part"))
    }

    pub(super) fn sidecar(&self, id: Fid) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }

    pub(super) fn sidecar_part(&self, id: Fid) -> PathBuf {
        self.0.join(format!("{id}.json.part"))
    }

    /// Makes the names made and removed so far outlast a power loss.
    pub(super) fn sync(&self, operation: &'static str) -> Result<(), PortError> {
        File::open(&*self.0)
            .and_then(|directory| directory.sync_all())
            .map_err(io_error(operation))
    }

    /// Whether the directory is there.
    pub(super) fn check(&self) -> Result<(), PortError> {
        std::fs::read_dir(&*self.0)
            .map(drop)
            .map_err(io_error("ping blob store"))
    }

    /// The space of its file system, as far as this user may fill it; None for one that has no size.
    pub(super) fn space(&self) -> Result<Option<Space>, PortError> {
        let system = rustix::fs::statvfs(&*self.0).map_err(|error| io_error("measure blob store")(error.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
        Ok((system.f_blocks > 0).then(|| Space {
            total_bytes: bytes(system.f_blocks),
            free_bytes: bytes(system.f_bavail.min(system.f_blocks)),
        }))
    }

    /// Removes a file, finished or not: what makes it visible first, so that it is never seen without its metadata.
    pub(super) fn remove(&self, id: Fid) -> Result<(), PortError> {
        let mut removed = remove_if_there(self.blob(id))?;
        for suffix in PARTS {
            removed |= remove_if_there(self.0.join(format!("{id}{suffix}")))?;
        }
        if removed {
            self.sync("delete blob")?;
        }
        Ok(())
    }

    /// Removes what a writer left that did not finish. The metadata of a finished file is not among it.
    pub(super) fn remove_parts(&self, id: Fid) -> Result<(), PortError> {
        if self.blob(id).exists() {
            remove_if_there(self.part(id)).map(drop)
        } else {
            self.remove(id)
        }
    }

    /// The ids of finished files after `after`, ascending.
    pub(super) fn finished(&self, after: Option<Fid>) -> Result<Vec<Fid>, PortError> {
        self.ids(after, |name| name.parse().ok())
    }

    /// The ids after `after` that have parts and no finished file, ascending.
    pub(super) fn unfinished(&self, after: Option<Fid>) -> Result<Vec<Fid>, PortError> {
        let mut begun = self.ids(after, |name| {
            let id = PARTS
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix)?.parse().ok())?;
            Some(id)
        })?;
        // Finishing renames, so a name may be missed or seen twice while the directory is read.
        begun.retain(|&id| !self.blob(id).exists());
        Ok(begun)
    }

    fn ids(&self, after: Option<Fid>, parse: impl Fn(&str) -> Option<Fid>) -> Result<Vec<Fid>, PortError> {
        let failed = || io_error("list blobs");
        let mut ids = BTreeSet::new();
        for entry in std::fs::read_dir(&*self.0).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            let name = name.to_str().unwrap_or_default();
            // Upper-case digits read as an id too, but no path of ours leads to such a file.
            let ours = parse(name).filter(|id| name.starts_with(&id.to_string()));
            ids.extend(ours.filter(|&id| after.is_none_or(|after| id > after)));
        }
        Ok(ids.into_iter().collect())
    }
}

fn remove_if_there(path: PathBuf) -> Result<bool, PortError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("delete blob")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_ids_are_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let place = Place::open(scratch.path().join("videos")).unwrap();
        let (done, begun) = (Fid::new(), Fid::new());
        for name in [
            done.to_string(),
            format!("{done}.json"),
            format!("{begun}.part"),
            "README".to_owned(),
            "ABCDEF0123456789ABCDEF01".to_owned(),
            ".part".to_owned(),
        ] {
            File::create(place.0.join(name)).unwrap();
        }
        assert_eq!(place.finished(None).unwrap(), [done]);
        assert_eq!(place.unfinished(None).unwrap(), [begun]);
        assert_eq!(place.unfinished(Some(begun)).unwrap(), []);
    }
}

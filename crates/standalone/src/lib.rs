//! The whole suite in one process: the `mp3converter` binary, and the [`Stack`] that is also the harness of its tests.

mod convert;
mod data_dir;
mod doctor;
mod manual;
mod output;
mod serve;
mod settings;
mod stack;

pub use convert::{ConvertCommand, ConvertCommandError};
pub use data_dir::{DataDir, DataDirError, DataDirLock};
pub use doctor::run as run_doctor;
pub use manual::{ManError, completions, settings_file, write_man_pages};
pub use serve::run as run_serve;
pub use settings::{ServeSettings, StoreSettings};
pub use stack::{Auth, Services, Stack, StackError};

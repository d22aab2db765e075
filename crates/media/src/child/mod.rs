//! The conversion in a process of its own: the same binary, executed again, locked down, and started before it is
//! needed.
//!
//! ```text
//! parent                                   child: no files, no network, no new processes, bounded memory and time
//!   Child::start  --- stdin: one socket -->  run_if_child: lock down -> Ready, and wait
//!   convert       --- Job --------------->  media::convert
//!     source      <-- Read, Data -------->    ranges of the source, one at a time
//!     sink        <-- Mp3 ----------------
//!     progress    <-- Progress -----------
//!     result      <-- End ----------------    and is gone
//! ```
//!
//! The parent takes the child for hostile: whatever it says is bounded and checked, and it is killed when it takes too
//! long, is cancelled, or talks nonsense. `docs/adr/0009-the-sandboxed-child.md` has the reasons.

mod conversation;
mod filter;
mod inside;
mod limits;
mod parent;
mod protocol;
mod sandbox;
mod starter;
mod system;

use std::ffi::OsStr;

pub use parent::{Child, Program};
pub use protocol::PROTOCOL_VERSION;
pub use sandbox::{Layer, LockedDown, lock_down};

/// The first argument of a child, which has no others.
const ARGUMENT: &str = "--mp3converter-conversion-child";

/// Becomes the child, if that is what this process was started as: then it never returns. To be called first in the
/// `main` of every program that starts children from itself.
pub fn run_if_child() {
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(ARGUMENT)) {
        inside::run();
    }
}

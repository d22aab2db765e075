//! The engine on real files: what converts, what it sounds like, and what is refused.

mod damage;
mod failures;
mod head;
mod hostile;
mod options;
mod samples;
mod support;

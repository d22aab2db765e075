//! The launchers, the programs `with-servers` and `stack` and the original's stand-ins, against the real servers.

mod isolation;
mod original;
mod restarts;
mod stack;
mod traces;
mod with_servers;

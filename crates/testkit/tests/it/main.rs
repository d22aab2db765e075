//! The launchers, the program `with-servers` and the original's stand-ins, against the real servers.

mod isolation;
mod original;
mod restarts;
mod with_servers;

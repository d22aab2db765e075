//! The launchers and the program `with-servers`, against the real servers.

mod isolation;
mod restarts;
mod with_servers;

//! How busy the way to a server is.

/// The places for calls to a server, which are few so that a slow server is not asked ever more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How many calls there may be at a time.
    pub places: u64,
    /// How many of them are under way.
    pub busy: u64,
}

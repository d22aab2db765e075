//! What was fetched and may be read again.

use std::collections::BTreeMap;
use std::ops::Range;

/// Pieces of the source, by their position. They never overlap.
#[derive(Default)]
pub(crate) struct Kept {
    pieces: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
}

impl Kept {
    /// What is kept from `position` on, as far as one piece goes.
    pub(crate) fn at(&self, position: u64) -> Option<&[u8]> {
        let (start, piece) = self.pieces.range(..=position).next_back()?;
        let offset = usize::try_from(position - start).ok()?;
        piece.get(offset..).filter(|rest| !rest.is_empty())
    }

    /// The parts of `range` that are not kept.
    pub(crate) fn missing(&self, range: Range<u64>, into: &mut Vec<Range<u64>>) {
        let mut from = range.start;
        while from < range.end {
            if let Some(rest) = self.at(from) {
                from += rest.len() as u64;
                continue;
            }
            let next = self.pieces.range(from..range.end).next();
            let until = next.map_or(range.end, |(start, _)| *start);
            into.push(from..until);
            from = until;
        }
    }

    /// Keeps a piece of which nothing is kept yet.
    pub(crate) fn keep(&mut self, start: u64, piece: Vec<u8>) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.insert(start, piece);
        }
    }

    /// Forgets what lies before `position` until at most `soft_bytes` are kept, the lowest first; then what lies behind
    /// it until at most `hard_bytes` are, the highest first.
    pub(crate) fn forget(&mut self, position: u64, soft_bytes: usize, hard_bytes: usize) {
        while self.bytes > soft_bytes {
            let lowest = self.pieces.first_entry();
            let Some(entry) = lowest.filter(|entry| entry.key() + entry.get().len() as u64 <= position) else {
                break;
            };
            self.bytes -= entry.remove().len();
        }
        while self.bytes > hard_bytes {
            let highest = self.pieces.last_entry();
            let Some(entry) = highest.filter(|entry| *entry.key() > position) else {
                break;
            };
            self.bytes -= entry.remove().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pieces: &[(u64, usize)]) -> Kept {
        let mut kept = Kept::default();
        for (start, length) in pieces {
            kept.keep(*start, vec![7; *length]);
        }
        kept
    }

    fn missing(kept: &Kept, range: Range<u64>) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        kept.missing(range, &mut found);
        found.into_iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn only_what_is_not_kept_is_missing() {
        let kept = kept(&[(10, 10), (20, 5), (40, 10)]);
        assert_eq!(missing(&kept, 0..60), [(0, 10), (25, 40), (50, 60)]);
        assert_eq!(missing(&kept, 12..24), []);
        assert_eq!(missing(&kept, 24..41), [(25, 40)]);
        assert_eq!(missing(&Kept::default(), 3..4), [(3, 4)]);
    }

    #[test]
    fn a_piece_is_found_from_any_of_its_bytes() {
        let kept = kept(&[(10, 10)]);
        assert_eq!(kept.at(10).map(<[u8]>::len), Some(10));
        assert_eq!(kept.at(19).map(<[u8]>::len), Some(1));
        assert!(kept.at(9).is_none() && kept.at(20).is_none());
    }

    #[test]
    fn what_was_passed_is_forgotten_first_and_what_is_far_ahead_next() {
        let mut kept = kept(&[(0, 10), (10, 10), (20, 10), (90, 10)]);
        kept.forget(20, 25, 100);
        assert!(kept.at(0).is_none() && kept.at(10).is_none() && kept.at(20).is_some());
        kept.forget(20, 0, 10);
        assert!(kept.at(90).is_none() && kept.at(20).is_some());
    }
}

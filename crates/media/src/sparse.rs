//! What of a file holds audio, by the container's own index.
//!
//! libav reads through the gaps between audio samples rather than seek over them, with no setting to stop it. So the
//! reader is told which bytes matter, and gives zeros for the others without fetching them.

use std::ops::Range;

/// Needed ranges that are no farther apart become one: a page of a disk. Less costs as much to skip as to read, and
/// every range costs a little in each layer between here and the store.
const MERGED_GAP_BYTES: u64 = 4096;

/// The header before the data of each chunk of an AVI: four letters and the length.
const CHUNK_HEADER_BYTES: u64 = 8;

/// A stretch of the source.
type Stretch = (u64, u32);

/// What is to be done at one position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Needed, up to that position.
    Needed(u64),
    /// Of no use, up to that position: zeros will do.
    Useless(u64),
    /// Of no use by the index alone, up to that position.
    Unproven(u64),
    /// The index says nothing here.
    Unknown,
}

/// The needed ranges of a file, and the extent within which nothing else is needed.
pub(crate) struct Plan {
    /// In order, disjoint, and never touching.
    needed: Vec<Stretch>,
    /// The numbers of the wanted streams, where the useless stretches are to be proven by the header before each: it
    /// must name another stream.
    chunks_beside: Option<Vec<usize>>,
    /// The stretch between headers that was last proven.
    proven: Range<u64>,
}

impl Plan {
    /// For containers whose reader goes where the index points, and nowhere else: MP4 without fragments. `samples` are
    /// the positions and lengths of what is wanted. None where there are none.
    pub(crate) fn of_samples(samples: impl ExactSizeIterator<Item = Stretch>, length: u64) -> Option<Self> {
        let needed = merged(samples, length, MERGED_GAP_BYTES);
        (!needed.is_empty()).then_some(Self {
            needed,
            chunks_beside: None,
            proven: 0..0,
        })
    }

    /// For AVI, whose reader follows the chunks one by one: needed is all but the data of the unwanted ones. The
    /// positions are those of chunk headers, the lengths those of the data. None where nothing is worth being left out.
    pub(crate) fn of_chunks(
        wanted_streams: Vec<usize>,
        wanted: impl ExactSizeIterator<Item = Stretch>,
        unwanted: impl ExactSizeIterator<Item = Stretch>,
        length: u64,
    ) -> Option<Self> {
        let with_header = |(position, size): Stretch| (position, size.saturating_add(8));
        let wanted = merged(wanted.map(with_header), length, 0);
        let data = |(position, size): Stretch| (position.saturating_add(CHUNK_HEADER_BYTES), size);
        let unwanted = merged(unwanted.map(data), length, 0);
        let first = unwanted.first()?.0;
        let mut needed = Vec::with_capacity(unwanted.len() + 1);
        // The header of the first is all that is known to be before it.
        let mut from = first.checked_sub(CHUNK_HEADER_BYTES)?;
        let mut claimed = wanted.iter().copied().map(range).peekable();
        for useless in unwanted.into_iter().map(range) {
            while claimed.next_if(|wanted| wanted.end <= useless.start).is_some() {}
            let disputed = claimed.peek().is_some_and(|wanted| wanted.start < useless.end);
            if useless.end - useless.start <= MERGED_GAP_BYTES || disputed {
                continue;
            }
            push_split(&mut needed, from..useless.start);
            from = useless.end;
        }
        if needed.is_empty() {
            return None;
        }
        // The end of the last useless stretch.
        needed.push((from, 0));
        Some(Self {
            needed,
            chunks_beside: Some(wanted_streams),
            proven: 0..0,
        })
    }

    /// What to do at `position`.
    pub(crate) fn at(&self, position: u64) -> At {
        let next = self.needed.partition_point(|(start, _)| *start <= position);
        let Some(current) = next.checked_sub(1) else {
            return At::Unknown;
        };
        let current = range(self.needed[current]);
        match self.needed.get(next) {
            _ if position < current.end => At::Needed(current.end),
            None => At::Unknown,
            Some((next, _)) if self.chunks_beside.is_none() || self.proven.contains(&position) => At::Useless(*next),
            Some((next, _)) => At::Unproven(*next),
        }
    }

    /// The stretch from `position` on that is useless if the chunk header before it says so too, which is at the
    /// position given with it.
    pub(crate) fn to_prove(&self, position: u64) -> Option<(Range<u64>, u64)> {
        if self.chunks_beside.is_none() || self.proven.contains(&position) {
            return None;
        }
        let next = self.needed.partition_point(|(start, _)| *start <= position);
        let current = range(*self.needed.get(next.checked_sub(1)?)?);
        let (until, _) = *self.needed.get(next)?;
        let header_at = position.checked_sub(CHUNK_HEADER_BYTES)?;
        (current.end == position).then_some((position..until, header_at))
    }

    /// Whether a chunk header announces exactly that much data, of an unwanted stream. From then on, the data is
    /// useless.
    pub(crate) fn prove(&mut self, useless: Range<u64>, header: [u8; 8]) -> bool {
        let [tens, units, _, _, length @ ..] = header;
        let announced = u64::from(u32::from_le_bytes(length));
        let digit = |letter: u8| letter.is_ascii_digit().then(|| usize::from(letter - b'0'));
        let stream = digit(tens).zip(digit(units)).map(|(tens, units)| 10 * tens + units);
        let wanted_streams = self.chunks_beside.as_deref().unwrap_or_default();
        let proven =
            announced == useless.end - useless.start && stream.is_some_and(|stream| !wanted_streams.contains(&stream));
        if proven {
            self.proven = useless;
        }
        proven
    }

    /// The needed ranges from `position` on, which is in one: at most `most_bytes` together, and at most `most_ranges`.
    pub(crate) fn ahead(&self, position: u64, most_bytes: u64, most_ranges: usize, into: &mut Vec<Range<u64>>) {
        let next = self.needed.partition_point(|(start, _)| *start <= position);
        let mut left = most_bytes;
        for stretch in self.needed[next.saturating_sub(1)..].iter().take(most_ranges) {
            let range = range(*stretch);
            let start = range.start.max(position);
            if start >= range.end {
                continue;
            }
            let end = range.end.min(start + left);
            into.push(start..end);
            left -= end - start;
            if left == 0 {
                return;
            }
        }
    }
}

fn range((start, length): Stretch) -> Range<u64> {
    start..start + u64::from(length)
}

/// Stretches in order, cut off at `length`, those no farther apart than `gap` as one.
fn merged(stretches: impl ExactSizeIterator<Item = Stretch>, length: u64, gap: u64) -> Vec<Stretch> {
    let mut list: Vec<Stretch> = Vec::new();
    // Ten hours hold millions of samples: the list does not grow by doubling.
    list.reserve_exact(stretches.len());
    let mut in_order = true;
    let within = stretches.filter_map(|(start, size)| {
        let size = u64::from(size).min(length.checked_sub(start)?);
        Some((start, u32::try_from(size).ok().filter(|size| *size > 0)?))
    });
    for stretch in within {
        let joined = in_order && list.last_mut().is_some_and(|last| join(last, stretch, gap));
        if !joined {
            in_order &= list.last().is_none_or(|last| last.0 <= stretch.0);
            list.push(stretch);
        }
    }
    if !in_order {
        list.sort_unstable();
        list.dedup_by(|stretch, last| join(last, *stretch, gap));
    }
    list.shrink_to_fit();
    list
}

/// Makes `last` hold a stretch that does not begin before it as well, if they are close enough.
fn join(last: &mut Stretch, stretch: Stretch, gap: u64) -> bool {
    let (before, after) = (range(*last), range(stretch));
    if after.start < before.start || after.start > before.end + gap {
        return false;
    }
    let length = u32::try_from(before.end.max(after.end) - before.start);
    length.map(|length| last.1 = length).is_ok()
}

/// Adds a range that may be longer than one stretch can be, as several that touch.
fn push_split(list: &mut Vec<Stretch>, range: Range<u64>) {
    let mut from = range.start;
    while from < range.end {
        let length = u32::try_from(range.end - from).unwrap_or(u32::MAX);
        list.push((from, length));
        from += u64::from(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: u64 = MERGED_GAP_BYTES;

    fn plan(samples: &[Stretch], length: u64) -> Plan {
        Plan::of_samples(samples.iter().copied(), length).unwrap()
    }

    fn ahead(plan: &Plan, position: u64, most_bytes: u64) -> Vec<(u64, u64)> {
        let mut ranges = Vec::new();
        plan.ahead(position, most_bytes, 100, &mut ranges);
        ranges.into_iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn samples_close_together_are_one_range_and_the_rest_between_is_useless() {
        let plan = plan(&[(100, 50), (150, 50), (200 + GAP, 10), (50_000, 10)], 1_000_000);
        assert_eq!(plan.at(99), At::Unknown);
        assert_eq!(plan.at(100), At::Needed(210 + GAP));
        assert_eq!(plan.at(209 + GAP), At::Needed(210 + GAP));
        assert_eq!(plan.at(210 + GAP), At::Useless(50_000));
        assert_eq!(plan.at(50_009), At::Needed(50_010));
        assert_eq!(plan.at(50_010), At::Unknown);
    }

    #[test]
    fn samples_in_any_order_that_overlap_or_lie_beyond_the_file_are_put_right() {
        let samples = [
            (900_000, 10),
            (0, 100),
            (50, 100),
            (0, 100),
            (999_990, 4_000_000),
            (2_000_000, 5),
            (u64::MAX, u32::MAX),
        ];
        let plan = plan(&samples, 1_000_000);
        assert_eq!(plan.needed, [(0, 150), (900_000, 10), (999_990, 10)]);
        assert!(Plan::of_samples([(2_000_000, 5), (3, 0)].into_iter(), 1_000_000).is_none());
    }

    #[test]
    fn what_is_ahead_comes_in_order_and_bounded() {
        let plan = plan(&[(0, 100), (10_000, 100), (20_000, 100)], 1_000_000);
        assert_eq!(ahead(&plan, 40, 1000), [(40, 100), (10_000, 10_100), (20_000, 20_100)]);
        assert_eq!(ahead(&plan, 40, 90), [(40, 100), (10_000, 10_030)]);
        assert_eq!(ahead(&plan, 10_050, 10), [(10_050, 10_060)]);
    }

    /// An AVI's chunks: a picture, a sound, a picture, a small picture, a sound.
    fn chunks() -> Plan {
        let wanted = [(30_000, 100), (60_000, 100)];
        let unwanted = [(0, 20_000), (30_108, 20_000), (50_200, 500)];
        Plan::of_chunks(vec![1], wanted.into_iter(), unwanted.into_iter(), 1_000_000).unwrap()
    }

    fn header(data_bytes: u32) -> [u8; 8] {
        let [a, b, c, d] = data_bytes.to_le_bytes();
        [b'0', b'0', b'd', b'c', a, b, c, d]
    }

    #[test]
    fn the_data_of_unwanted_chunks_is_useless_once_its_header_says_so() {
        let mut plan = chunks();
        assert_eq!(plan.at(0), At::Needed(8));
        assert_eq!(plan.at(8), At::Unproven(20_008));
        let (useless, header_at) = plan.to_prove(8).unwrap();
        assert_eq!((useless.clone(), header_at), (8..20_008, 0));
        assert!(!plan.prove(useless.clone(), header(20_001)));
        assert!(!plan.prove(useless.clone(), *b"JUNK\x20\x4e\0\0"));
        assert!(!plan.prove(useless.clone(), *b"01wb\x20\x4e\0\0"), "the wanted sound");
        assert!(plan.prove(useless, header(20_000)));
        assert_eq!(plan.at(8), At::Useless(20_008));
        assert_eq!(plan.at(20_007), At::Useless(20_008));
        assert_eq!(plan.at(20_008), At::Needed(30_116));
        assert_eq!(plan.at(30_116), At::Unproven(50_116));
        assert_eq!(plan.at(50_115), At::Unproven(50_116));
        assert_eq!(plan.at(50_116), At::Unknown, "a small picture is not worth it");
    }

    #[test]
    fn a_stretch_that_wanted_and_unwanted_chunks_claim_is_needed() {
        let wanted = [(25_000, 100)];
        let unwanted = [(0, 20_000), (20_008, 20_000)];
        let plan = Plan::of_chunks(vec![1], wanted.into_iter(), unwanted.into_iter(), 1_000_000).unwrap();
        assert_eq!(plan.needed, [(0, 8), (20_008, 0)]);
    }

    #[test]
    fn ten_hours_of_samples_take_little_memory() {
        let samples = (0..2_000_000_u64).map(|number| (number * 10_000, 300));
        let samples: Vec<Stretch> = samples.collect();
        let plan = plan(&samples, u64::MAX);
        assert_eq!(plan.needed.len(), 2_000_000);
        assert!(plan.needed.capacity() * size_of::<Stretch>() <= 32 << 20);
    }
}

//! Random numbers that are the same everywhere (splitmix64), so that a number names an input.

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`, and 0 where there is nothing less.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Some piece of `0..end`, short as a rule.
    pub(crate) fn range(&mut self, end: usize) -> std::ops::Range<usize> {
        let first = self.below(end + 1);
        let longest = if self.chance(80) { 16 } else { end };
        let last = (first + self.below(longest + 1)).min(end);
        first..last
    }

    /// Numbers at which readers stumble.
    pub(crate) fn number(&mut self) -> u64 {
        let near = self.below(3) as u64;
        match self.below(9) {
            0 => near,
            1 => u64::MAX - near,
            2 => (1 << 31) - near,
            3 => (1 << 32) + near,
            4 => (1 << 63) - near,
            5 => 1 << self.below(64),
            6 => (1_u64 << self.below(64)).wrapping_sub(1),
            7 => self.below(300) as u64,
            _ => self.next(),
        }
    }
}

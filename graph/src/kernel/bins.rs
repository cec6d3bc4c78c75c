//! A number stands between two thresholds of its feature, and which two is all that the tests of byte planes and merges
//! want: a column of floats becomes one byte for each row. A feature with more than 255 thresholds gets several such
//! columns.

use std::collections::BTreeMap;

use super::routes::{Routes, branches, sums_two_way};
use super::{Columns, GROUP, Line};
use crate::trees::Ensemble;

/// The most thresholds that one byte can tell apart, with one value left for NaN that goes right.
const MOST: usize = 255;
/// How many values are looked at in one go.
pub(super) const SIXTEEN: usize = 16;
/// Up to so many thresholds all are compared with each row, which needs no lookups.
pub(super) const FEW: usize = 48;

/// The largest table that is looked up sixteen by sixteen.
const LARGEST: usize = SIXTEEN * SIXTEEN * SIXTEEN;

/// For each row of a group how many thresholds are below its value.
pub(super) type Counts = [u32; GROUP];

/// The columns of one feature.
#[derive(Debug)]
pub(super) struct Feature {
    pub number: usize,
    /// The thresholds, ascending, each once, and then +inf, which is below nothing: up to whole sixteens, or where they
    /// are more than 4,096 up to a power of two.
    table: Vec<f32>,
    /// How many of the table are thresholds.
    known: usize,
    /// The last of each sixteen of the table, the last of each sixteen of these, and so on up to sixteen of them, each
    /// list filled up with +inf; none where the table is larger than 4,096.
    above: Vec<Vec<f32>>,
    /// The first line of those that send NaN left and of those that send it right.
    pub nan_left: Option<usize>,
    pub nan_right: Option<usize>,
}

impl Feature {
    /// Ascending, each once.
    pub(super) fn thresholds(&self) -> &[f32] {
        &self.table[..self.known]
    }

    /// Lines for each way of NaN.
    fn lines(&self) -> usize {
        self.known.div_ceil(MOST)
    }
}

/// The features that tests ask for.
#[derive(Debug)]
pub(super) struct Bins {
    pub features: Vec<Feature>,
    pub lines: usize,
}

impl Bins {
    /// Nothing where bytes cannot stand for its tests, or leaves are not just added.
    pub(super) fn of(ensemble: &Ensemble) -> Option<Self> {
        if !sums_two_way(ensemble) {
            return None;
        }
        let mut tests: BTreeMap<u32, usize> = BTreeMap::new();
        for branch in branches(ensemble) {
            *tests.entry(branch.feature).or_default() += 1;
        }
        let with_room = |(feature, tests)| (feature, Vec::with_capacity(tests));
        let mut thresholds: BTreeMap<u32, Vec<f32>> = tests.into_iter().map(with_room).collect();
        for branch in branches(ensemble) {
            // Both zeros are one threshold.
            let list = thresholds.entry(branch.feature).or_default();
            list.push(branch.upto + 0.0);
        }
        let (_, routes) = Routes::of(ensemble);
        let mut bins = Self {
            features: Vec::new(),
            lines: 0,
        };
        for (number, mut thresholds) in thresholds {
            thresholds.sort_unstable_by(f32::total_cmp);
            thresholds.dedup();
            let mut feature = Feature::of(number as usize, thresholds);
            for nan_left in [false, true] {
                if routes.contains_key(&(number, nan_left)) {
                    let first = Some(bins.lines);
                    bins.lines += feature.lines();
                    match nan_left {
                        true => feature.nan_left = first,
                        false => feature.nan_right = first,
                    }
                }
            }
            bins.features.push(feature);
        }
        // Kernels number lines by `u16`.
        (bins.lines <= usize::from(u16::MAX)).then_some(bins)
    }

    /// The line and the byte that stand for a test: it goes right where the line's byte is above the test's.
    pub(super) fn place(&self, feature: u32, upto: f32, nan_left: bool) -> Option<(usize, i8)> {
        let place = self
            .features
            .binary_search_by_key(&(feature as usize), |feature| feature.number)
            .ok()?;
        let feature = &self.features[place];
        let below = feature.thresholds().partition_point(|value| *value < upto);
        let first = match nan_left {
            true => feature.nan_left?,
            false => feature.nan_right?,
        };
        Some((first + below / MOST, from_count((below % MOST) as u8)))
    }

    /// The bytes of one group of rows.
    #[inline(always)]
    pub(super) fn fill(&self, columns: &impl Columns, group: usize, lines: &mut [Line]) {
        for feature in &self.features {
            let column = group_of(columns.column(feature.number), group);
            let counts = if feature.thresholds().len() <= FEW {
                count_all(feature.thresholds(), column)
            } else if feature.is_in_sixteens() {
                let mut counts = [0; GROUP];
                for (count, value) in counts.iter_mut().zip(column) {
                    *count = feature.count(|sixteen| below(sixteen, *value)) as u32;
                }
                counts
            } else {
                search(&feature.table, column)
            };
            feature.place(&counts, column, group, lines);
        }
    }
}

impl Feature {
    fn of(number: usize, thresholds: Vec<f32>) -> Self {
        let known = thresholds.len();
        let size = match known < LARGEST {
            true => (known + 1).next_multiple_of(SIXTEEN),
            false => (known + 1).next_power_of_two(),
        };
        let mut table = thresholds;
        table.reserve_exact(size - known);
        table.resize(size, f32::INFINITY);
        table.shrink_to_fit();
        let mut above: Vec<Vec<f32>> = Vec::new();
        let mut level = &table;
        while size <= LARGEST && level.len() > SIXTEEN {
            let (sixteens, _) = level.as_chunks::<SIXTEEN>();
            let mut pivots = vec![f32::INFINITY; sixteens.len().next_multiple_of(SIXTEEN)];
            for (pivot, sixteen) in pivots.iter_mut().zip(sixteens) {
                *pivot = sixteen[SIXTEEN - 1];
            }
            above.push(pivots);
            level = above.last().unwrap_or(&table);
        }
        Self {
            number,
            table,
            known,
            above,
            nan_left: None,
            nan_right: None,
        }
    }

    /// How many thresholds are below a value, by what says how many of sixteen are.
    #[inline(always)]
    pub(super) fn count(&self, below: impl Fn(&[f32; SIXTEEN]) -> usize) -> usize {
        if let [pivots] = self.above.as_slice() {
            let (pivots, _) = pivots.as_chunks::<SIXTEEN>();
            let (sixteens, _) = self.table.as_chunks::<SIXTEEN>();
            let place = below(&pivots[0]);
            return SIXTEEN * place + below(&sixteens[place]);
        }
        let mut place = 0;
        for level in self.above.iter().rev().chain([&self.table]) {
            let (sixteens, _) = level.as_chunks::<SIXTEEN>();
            // The last that has a sixteen below is +inf, so that none of those after it is ever reached.
            place = SIXTEEN * place + below(&sixteens[place]);
        }
        place
    }

    /// Whether [`Feature::count`] may be asked.
    pub(super) fn is_in_sixteens(&self) -> bool {
        self.table.len() <= LARGEST
    }

    /// For each value how many thresholds are below.
    pub(super) fn search(&self, column: &[f32]) -> Counts {
        search(&self.table, column)
    }

    /// Puts the bytes where tests look for them; nothing is below NaN, which therefore goes left unless its byte says
    /// else.
    #[inline(always)]
    pub(super) fn place(&self, counts: &Counts, column: &[f32], group: usize, lines: &mut [Line]) {
        for line in 0..self.lines() {
            let mut bytes = [0_i8; GROUP];
            let before = (line * MOST) as u32;
            if self.lines() == 1 {
                for (byte, count) in bytes.iter_mut().zip(counts) {
                    *byte = from_count(*count as u8);
                }
            } else {
                for (byte, count) in bytes.iter_mut().zip(counts) {
                    *byte = from_count(count.saturating_sub(before).min(MOST as u32) as u8);
                }
            }
            if let Some(left) = self.nan_left {
                lines[left + line].0[group] = bytes;
            }
            if let Some(right) = self.nan_right {
                let to = &mut lines[right + line].0[group];
                *to = bytes;
                for (byte, value) in to.iter_mut().zip(column) {
                    *byte = if value.is_nan() { i8::MAX } else { *byte };
                }
            }
        }
    }
}

/// Counts in the order of signed bytes, which is the one that vector instructions compare.
fn from_count(count: u8) -> i8 {
    (count ^ 0x80).cast_signed()
}

/// The rows of a group, fewer than 64 at the end.
#[inline(always)]
pub(super) fn group_of(column: &[f32], group: usize) -> &[f32] {
    let first = group * GROUP;
    &column[first..column.len().min(first + GROUP)]
}

#[inline(always)]
pub(super) fn count_all(thresholds: &[f32], column: &[f32]) -> Counts {
    let mut values = [f32::NAN; GROUP];
    values[..column.len()].copy_from_slice(column);
    let mut counts = [0_u32; GROUP];
    for threshold in thresholds {
        for (count, value) in counts.iter_mut().zip(&values) {
            *count += u32::from(*threshold < *value);
        }
    }
    counts
}

#[inline(always)]
fn below(sixteen: &[f32; SIXTEEN], value: f32) -> usize {
    let below = sixteen.map(|threshold| u32::from(threshold < value));
    below.iter().sum::<u32>() as usize
}

/// As many halvings for every value; `table` is as long as a power of two.
#[inline(always)]
fn search(table: &[f32], column: &[f32]) -> Counts {
    let mut counts = [0; GROUP];
    let mut step = table.len() / 2;
    while step > 0 {
        // Row after row at each step: none waits for another, and nothing has to be guessed.
        for (count, value) in counts.iter_mut().zip(column) {
            let below = table[*count as usize + (step - 1)] < *value;
            *count += u32::from(below) * step as u32;
        }
        step /= 2;
    }
    counts
}

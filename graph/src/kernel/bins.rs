//! A number stands between two thresholds of its feature, and which two is all that the tests of a byte plane want: a column
//! of floats becomes one byte for each row. A feature with more than 255 thresholds gets several such columns.

use std::collections::BTreeMap;

use super::routes::{Routes, branches};
use super::{Columns, GROUP, Line};
use crate::trees::Ensemble;

/// The most thresholds that one byte can tell apart, with one value left for NaN that goes right.
const MOST: usize = 255;
/// `table` ends with so many +inf, which are below nothing.
const PADDED: usize = 256;
/// Up to so many thresholds all are compared with each row, which needs no lookups.
pub(super) const FEW: usize = 48;

/// The columns of one feature.
#[derive(Debug)]
pub(super) struct Feature {
    pub number: usize,
    /// Ascending, each once.
    pub thresholds: Vec<f32>,
    /// The thresholds and +inf, for features with no more than 255 of them.
    pub table: Box<[f32; PADDED]>,
    /// Every sixteenth of `table`: its last of each sixteen.
    pub pivots: [f32; 16],
    /// The first line of those that send NaN left and of those that send it right.
    pub nan_left: Option<usize>,
    pub nan_right: Option<usize>,
}

impl Feature {
    /// Lines for each way of NaN.
    fn lines(&self) -> usize {
        self.thresholds.len().div_ceil(MOST)
    }
}

/// The features that tests ask for.
#[derive(Debug)]
pub(super) struct Bins {
    pub features: Vec<Feature>,
    pub lines: usize,
}

impl Bins {
    pub(super) fn of(ensemble: &Ensemble) -> Self {
        let mut thresholds: BTreeMap<u32, Vec<f32>> = BTreeMap::new();
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
            let mut table = Box::new([f32::INFINITY; PADDED]);
            for (to, from) in table.iter_mut().zip(&thresholds) {
                *to = *from;
            }
            let mut feature = Feature {
                number: number as usize,
                pivots: std::array::from_fn(|place| table[16 * place + 15]),
                table,
                thresholds,
                nan_left: None,
                nan_right: None,
            };
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
        bins
    }

    /// The line and the byte that stand for a test: it goes right where the line's byte is above the test's.
    pub(super) fn place(&self, feature: u32, upto: f32, nan_left: bool) -> Option<(usize, u8)> {
        let place = self
            .features
            .binary_search_by_key(&(feature as usize), |feature| feature.number)
            .ok()?;
        let feature = &self.features[place];
        let below = feature.thresholds.partition_point(|value| *value < upto);
        let first = match nan_left {
            true => feature.nan_left?,
            false => feature.nan_right?,
        };
        Some((first + below / MOST, (below % MOST) as u8))
    }

    /// The bytes of one group of rows.
    #[inline(always)]
    pub(super) fn fill(&self, columns: &impl Columns, group: usize, lines: &mut [Line]) {
        for feature in &self.features {
            let column = group_of(columns.column(feature.number), group);
            if !feature.is_single() {
                feature.fill_many(column, group, lines);
            } else if feature.thresholds.len() <= FEW {
                feature.place_bytes(count_all(&feature.thresholds, column), column, group, lines);
            } else {
                feature.place_bytes(search(&feature.table, column), column, group, lines);
            }
        }
    }
}

impl Feature {
    /// Puts the bytes where tests look for them; nothing is below NaN, which therefore goes left unless its byte says else.
    #[inline(always)]
    pub(super) fn place_bytes(
        &self,
        mut bytes: [u8; GROUP],
        column: &[f32],
        group: usize,
        lines: &mut [Line],
    ) {
        if let Some(left) = self.nan_left {
            lines[left].0[group] = bytes;
        }
        if let Some(right) = self.nan_right {
            for (byte, value) in bytes.iter_mut().zip(column) {
                *byte |= if value.is_nan() { u8::MAX } else { 0 };
            }
            lines[right].0[group] = bytes;
        }
    }

    /// For more thresholds than a byte can count.
    pub(super) fn fill_many(&self, column: &[f32], group: usize, lines: &mut [Line]) {
        for (row, value) in column.iter().enumerate() {
            let below = self
                .thresholds
                .partition_point(|threshold| *threshold < *value);
            for line in 0..self.lines() {
                let byte = below.saturating_sub(line * MOST).min(MOST) as u8;
                if let Some(left) = self.nan_left {
                    lines[left + line].0[group][row] = byte;
                }
                if let Some(right) = self.nan_right {
                    lines[right + line].0[group][row] = if value.is_nan() { u8::MAX } else { byte };
                }
            }
        }
    }

    /// Whether one line has all thresholds.
    pub(super) fn is_single(&self) -> bool {
        self.lines() <= 1
    }
}

/// The rows of a group, fewer than 64 at the end.
#[inline(always)]
pub(super) fn group_of(column: &[f32], group: usize) -> &[f32] {
    let first = group * GROUP;
    &column[first..column.len().min(first + GROUP)]
}

#[inline(always)]
fn count_all(thresholds: &[f32], column: &[f32]) -> [u8; GROUP] {
    let mut values = [f32::NAN; GROUP];
    values[..column.len()].copy_from_slice(column);
    let mut counts = [0_u32; GROUP];
    for threshold in thresholds {
        for (count, value) in counts.iter_mut().zip(&values) {
            *count += u32::from(*threshold < *value);
        }
    }
    counts.map(|count| count as u8)
}

/// Eight halvings, the same for every value.
#[inline(always)]
fn search(table: &[f32; PADDED], column: &[f32]) -> [u8; GROUP] {
    let mut bytes = [0; GROUP];
    for (byte, value) in bytes.iter_mut().zip(column) {
        let mut below = 0_u8;
        for step in [128_u8, 64, 32, 16, 8, 4, 2, 1] {
            let probe = below + (step - 1);
            below += if table[usize::from(probe)] < *value {
                step
            } else {
                0
            };
        }
        *byte = below;
    }
    bytes
}

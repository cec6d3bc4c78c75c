//! Weighted sums of lanes: columns with a factor and a summand are columns still, and lanes that share their places
//! become one table.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::Planner;
use super::lanes::{Entries, Lane, Source};
use crate::kernel::linear::Linear;
use crate::kernel::tables::Tables;
use crate::program::{Action, Pair, Register};

/// What the lanes of one register of places add to each target.
struct Group {
    places: Register,
    sums: Vec<Vec<f64>>,
}

impl Planner {
    /// For each target the sum of the lanes times `weights[target]`, and a constant.
    pub(crate) fn linear(
        &mut self,
        lanes: &[Lane],
        weights: &[Vec<f64>],
        constants: &[f64],
    ) -> Vec<Lane> {
        let mut sums = constants.to_vec();
        let mut groups = BTreeMap::new();
        let (mut from, mut parts) = (Vec::new(), Vec::new());
        for (place, lane) in lanes.iter().enumerate() {
            let weights = weights.iter().map(|weights| weights[place]);
            if let Some((places, entries)) = lane.picked() {
                let weights: Vec<f64> = weights.collect();
                self.tabulate(&mut groups, places, &entries, &weights);
                continue;
            }
            let (kept, factor, summand) = lane.split();
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += weight * summand;
            }
            from.push(self.changed(&lane.source, kept));
            parts.push((place, factor));
        }
        let constants: Vec<f32> = sums.iter().map(|sum| *sum as f32).collect();
        if from.is_empty() && !groups.is_empty() {
            return self.tables(groups, Vec::new(), constants);
        }
        let targets = constants.len();
        let of = |weights: &Vec<f64>| -> Vec<f32> {
            let parts = parts.iter();
            parts
                .map(|(place, factor)| (weights[*place] * factor) as f32)
                .collect()
        };
        let linear = Linear {
            weights: weights.iter().flat_map(of).collect(),
            constants,
            width: from.len(),
        };
        let slots = self.step(from, Action::Linear(linear), targets);
        match groups.is_empty() {
            true => slots.into_iter().map(Lane::of).collect(),
            false => self.tables(groups, slots, Vec::new()),
        }
    }

    /// The two added.
    pub(crate) fn sum(&mut self, left: &Lane, right: &Lane) -> Lane {
        let from = vec![self.register(left), self.register(right)];
        let to = self.step(from, Action::Pair(Pair::Add), 1);
        Lane::of(to[0])
    }

    fn tabulate(
        &mut self,
        groups: &mut BTreeMap<Register, Group>,
        places: Register,
        entries: &Entries,
        weights: &[f64],
    ) {
        let count = entries.places;
        let group = match groups.entry(places) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(_) if !self.affords(count * weights.len()) => return,
            Entry::Vacant(new) => {
                let sums = vec![vec![0.0; count]; weights.len()];
                new.insert(Group { places, sums })
            }
        };
        let plain = entries.usual == 0.0;
        if !plain && !self.affords(count) {
            return;
        }
        for (sums, weight) in group.sums.iter_mut().zip(weights) {
            if plain {
                for (place, value) in entries.others.iter() {
                    sums[*place as usize] += weight * value;
                }
            } else {
                for (place, sum) in sums.iter_mut().enumerate() {
                    *sum += weight * entries.at(place);
                }
            }
        }
    }

    fn tables(
        &mut self,
        groups: BTreeMap<Register, Group>,
        before: Vec<Register>,
        constants: Vec<f32>,
    ) -> Vec<Lane> {
        let mut from = Vec::new();
        let mut entries = Vec::new();
        let mut targets = 0;
        for group in groups.into_values() {
            targets = group.sums.len();
            from.push(group.places);
            let sums = group.sums.iter().flatten();
            entries.push(sums.map(|sum| *sum as f32).collect());
        }
        from.extend(before);
        let tables = Tables {
            entries,
            targets,
            constants,
        };
        let slots = self.step(from, Action::Tables(Arc::new(tables)), targets);
        slots.into_iter().map(Lane::of).collect()
    }

    /// How many of the lanes take a multiplication for each row.
    pub(super) fn dense(lanes: &[Lane]) -> usize {
        let dense = |lane: &&Lane| !matches!(lane.source, Source::Pick { .. });
        lanes.iter().filter(dense).count()
    }
}

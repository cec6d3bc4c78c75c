//! Sums of table entries: what a one-hot column adds to a weighted sum is one number for each place, and no ones and
//! zeros are ever made.

use super::{BLOCK, Columns};

/// For each target a sum of one entry from each table, by the place that the table's column says, and of what there
/// was.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// By table, then by target, then by place.
    pub entries: Vec<Vec<f32>>,
    pub targets: usize,
    /// What there was for each target; nothing where columns say it.
    pub constants: Vec<f32>,
}

impl Tables {
    /// The first columns have the places for each table, the others what there was for each target.
    pub(crate) fn run(&self, columns: &impl Columns, rows: usize, out: &mut [f32]) {
        let before = self.entries.len();
        for (target, out) in out.chunks_exact_mut(BLOCK).enumerate().take(self.targets) {
            let out = &mut out[..rows];
            match self.constants.get(target) {
                Some(constant) => out.fill(*constant),
                None => out.copy_from_slice(&columns.column(before + target)[..rows]),
            }
            for (number, entries) in self.entries.iter().enumerate() {
                let places = entries.len() / self.targets;
                let entries = &entries[target * places..][..places];
                for (sum, place) in out.iter_mut().zip(columns.column(number)) {
                    *sum += entry(entries, *place);
                }
            }
        }
    }
}

/// Places beyond the table, which there are none of, have nothing.
#[inline(always)]
pub(crate) fn entry(entries: &[f32], place: f32) -> f32 {
    // Signed, which is one instruction.
    match entries.get(place as i32 as usize) {
        Some(entry) => *entry,
        None => 0.0,
    }
}

/// The entry of each row's place.
pub(crate) fn pick(entries: &[f32], places: &[f32], out: &mut [f32]) {
    // Most tables have a one and zeros, and a comparison does several rows at once.
    let mut odd = entries.iter().enumerate();
    let zero = |entry: f32| entry.to_bits() == 0;
    let only = odd.find(|(_, entry)| !zero(**entry));
    match only {
        Some((at, one)) if odd.all(|(_, entry)| zero(*entry)) => {
            let (at, one) = (at as f32, *one);
            for (to, place) in out.iter_mut().zip(places) {
                *to = if *place == at { one } else { 0.0 };
            }
        }
        _ => {
            for (to, place) in out.iter_mut().zip(places) {
                *to = entry(entries, *place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Tables, pick};
    use crate::kernel::{BLOCK, Columns};

    impl Columns for Vec<Vec<f32>> {
        fn column(&self, feature: usize) -> &[f32] {
            &self[feature]
        }
    }

    #[test]
    fn entries_are_added_to_what_there_was() {
        let mut tables = Tables {
            entries: vec![vec![1.0, 2.0, 10.0, 20.0], vec![0.5, -0.5, 0.0, 0.25]],
            targets: 2,
            constants: vec![100.0, 200.0],
        };
        let places = vec![vec![0.0, 1.0, 0.0], vec![1.0, 1.0, 0.0]];
        let mut out = [0.0; 2 * BLOCK];
        tables.run(&places, 3, &mut out);
        assert_eq!(out[..3], [100.5, 101.5, 101.5]);
        assert_eq!(out[BLOCK..BLOCK + 3], [210.25, 220.25, 210.0]);
        tables.constants.clear();
        let sums = vec![vec![0.0; 3], vec![1000.0; 3]];
        tables.run(&[places, sums].concat(), 3, &mut out);
        assert_eq!(out[..3], [0.5, 1.5, 1.5]);
        assert_eq!(out[BLOCK..BLOCK + 3], [1010.25, 1020.25, 1010.0]);
    }

    #[test]
    fn every_table_is_picked_from() {
        let places = [0.0, 1.0, 2.0, 2.0];
        for entries in [
            [0.0, 0.0, 1.0],
            [3.0, 0.0, 0.0],
            [0.0; 3],
            [1.0, 2.0, f32::NAN],
        ] {
            let mut out = [9.0; 4];
            pick(&entries, &places, &mut out);
            for (got, place) in out.iter().zip(places) {
                assert_eq!(got.to_bits(), entries[place as usize].to_bits());
            }
        }
    }
}

//! Cuts a table's files into splits: the pieces that tasks read. Big files are cut into byte ranges, small ones are packed
//! together; files keep their order. A pure decision.

/// What a split is at most, where there is enough work for everyone.
const LARGEST: u64 = 64 << 20;
/// A piece of a file below this costs more to start than to read.
const SMALLEST: u64 = 1 << 20;
/// More tasks than this are more than the engine runs well at once.
const MOST: u64 = 5_000;
/// Opening a file takes about as long as reading this much of it.
const OPEN: u64 = 128 << 10;

/// A piece of the file with this index: the whole, or its bytes from `start` to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) file: usize,
    pub(super) range: Option<(u64, u64)>,
}

/// The splits of files of these sizes: at least `wanted` where the bytes suffice, so that every slot has work. A file that is
/// not divisible stays whole.
pub(super) fn cut(files: &[(u64, bool)], wanted: usize) -> Vec<Vec<Piece>> {
    let weight: u64 = files.iter().map(|(size, _)| size + OPEN).sum();
    let wanted = u64::try_from(wanted).unwrap_or(MOST).clamp(1, MOST);
    let target = weight
        .div_ceil(wanted)
        .min(LARGEST)
        .max(weight.div_ceil(MOST));
    let mut splits = Vec::new();
    let mut split = Vec::new();
    let mut room = target;
    for (file, &(size, divisible)) in files.iter().enumerate() {
        let mut start = 0;
        // What is left over by a little goes with its neighbour, rather than into a split of its own.
        while size - start + OPEN > room + target / 4 {
            if !split.is_empty() && (room < SMALLEST || !divisible) {
                splits.push(std::mem::take(&mut split));
                room = target;
                continue;
            }
            let step = room.max(SMALLEST);
            if !divisible || size - start <= step + step / 4 {
                break;
            }
            let range = Some((start, start + step));
            split.push(Piece { file, range });
            splits.push(std::mem::take(&mut split));
            (start, room) = (start + step, target);
        }
        let range = (start > 0).then_some((start, size));
        split.push(Piece { file, range });
        room = room.saturating_sub(size - start + OPEN);
        if room == 0 {
            splits.push(std::mem::take(&mut split));
            room = target;
        }
    }
    if !split.is_empty() {
        splits.push(split);
    }
    splits
}

/// The same pieces in the same order, in no more than `most` splits.
pub(super) fn pack(splits: Vec<Vec<Piece>>, most: usize) -> Vec<Vec<Piece>> {
    let each = splits.len().div_ceil(most.max(1)).max(1);
    splits.chunks(each).map(<[_]>::concat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte of every file is in exactly one piece, in order.
    fn check(sizes: &[u64], divisible: bool, wanted: usize) -> Vec<Vec<Piece>> {
        let files: Vec<(u64, bool)> = sizes.iter().map(|&size| (size, divisible)).collect();
        let splits = cut(&files, wanted);
        let pieces: Vec<Piece> = splits.iter().flatten().copied().collect();
        let (mut file, mut at) = (0, 0);
        for piece in pieces {
            assert_eq!(piece.file, file);
            let (start, end) = piece.range.unwrap_or((0, sizes[file]));
            assert_eq!(start, at);
            assert!(start < end || sizes[file] == 0);
            at = end;
            if end == sizes[file] {
                (file, at) = (file + 1, 0);
            }
        }
        assert_eq!(file, sizes.len());
        assert!(splits.iter().all(|split| !split.is_empty()));
        splits
    }

    #[test]
    fn every_byte_is_in_one_split() {
        let mut seed = 7u64;
        let mut next = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..2_000 {
            let count = next(40) + 1;
            let scale = 1 << next(34);
            let sizes: Vec<u64> = (0..count).map(|_| next(scale)).collect();
            let wanted = usize::try_from(next(64)).unwrap();
            check(&sizes, true, wanted);
            check(&sizes, false, wanted);
        }
    }

    #[test]
    fn big_files_are_cut_and_small_ones_packed() {
        let one = check(&[2 << 30], true, 16);
        assert_eq!(one.len(), 32);
        assert!(check(&[2 << 30], true, 100).len() >= 100);
        assert_eq!(check(&[2 << 30], false, 16).len(), 1);
        assert_eq!(check(&[1 << 20], true, 16).len(), 1);
        assert_eq!(check(&[1000; 8], true, 16).len(), 8);
        let eight = check(&[4 << 20; 8], true, 8);
        assert_eq!(eight.len(), 8);
        let small = check(&[50 << 10; 10_000], true, 16);
        assert!((20..60).contains(&small.len()), "{}", small.len());
        let huge = check(&[10 << 40], true, 16);
        assert!(huge.len() <= 5_001, "{}", huge.len());
        assert_eq!(cut(&[], 16), Vec::<Vec<Piece>>::new());
    }

    #[test]
    fn splits_are_packed_in_order_and_none_is_lost() {
        let splits = check(&[1 << 30; 100], true, 16);
        let pieces = splits.concat();
        for most in [1, 2, 16, 1000, 100_000] {
            let packed = pack(splits.clone(), most);
            assert!(packed.len() <= most && packed.iter().all(|split| !split.is_empty()));
            assert_eq!(packed.concat(), pieces);
        }
        assert_eq!(pack(Vec::new(), 4), Vec::<Vec<Piece>>::new());
    }
}

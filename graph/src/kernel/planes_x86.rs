//! Byte planes with the vector instructions of x86: a group of 64 rows in one register (AVX-512) or in two (AVX2). A
//! whole block goes through a tree before the next one, so that a model larger than the nearest cache is read once a
//! block.

use std::arch::x86_64::*;

use super::bins::{Counts, FEW, Feature, SIXTEEN, count_all, group_of};
use super::planes::{Bytes, Floats, Planes};
use super::{BLOCK, Columns, GROUP, Line};

/// More than any leaf's number, whatever plane's first is added; unsigned.
const NONE: i8 = -128;

/// The lowest set bit of a byte's lower half, and of its upper half.
const LOWEST: [i8; 16] = [NONE, 0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0];
const LOWEST_UPPER: [i8; 16] = [NONE, 4, 5, 4, 6, 4, 5, 4, 7, 4, 5, 4, 6, 4, 5, 4];

/// The groups of a whole block.
const ALL: usize = BLOCK / GROUP;

/// Scores the first groups of a block; `lines` are written before they are read.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
pub(super) fn avx512(
    planes: &Planes,
    columns: &impl Columns,
    groups: usize,
    lines: &mut [Line],
    out: &mut [f32],
) {
    for group in 0..groups {
        for feature in &planes.bins.features {
            let column = group_of(columns.column(feature.number), group);
            let counts = if feature.thresholds().len() <= FEW {
                count_all_512(feature.thresholds(), column)
            } else if feature.is_in_sixteens() {
                look_up_512(feature, column)
            } else {
                feature.search(column)
            };
            feature.place(&counts, column, group, lines);
        }
    }
    if groups == ALL {
        trees_512::<ALL>(planes, 0, lines, out);
    } else {
        for group in 0..groups {
            trees_512::<1>(planes, group, lines, out);
        }
    }
}

/// All trees over `G` groups of rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn trees_512<const G: usize>(planes: &Planes, first: usize, lines: &[Line], out: &mut [f32]) {
    let lower = _mm512_broadcast_i32x4(load(&LOWEST));
    let upper = _mm512_broadcast_i32x4(load(&LOWEST_UPPER));
    let nibble = _mm512_set1_epi8(15);
    for part in &planes.parts {
        let mut leaf = [_mm512_set1_epi8(-1); G];
        for (plane, cuts) in planes.planes_of(part) {
            let mut stay = [_mm512_set1_epi8(-1); G];
            for cut in cuts {
                let line = &lines[usize::from(cut.line)];
                let most = _mm512_set1_epi8(cut.most);
                let keep = _mm512_set1_epi8((!cut.gone).cast_signed());
                for (stay, bytes) in stay.iter_mut().zip(&line.0[first..first + G]) {
                    let above = _mm512_cmpgt_epi8_mask(load_group_512(bytes), most);
                    let kept = _mm512_and_si512(*stay, keep);
                    *stay = _mm512_mask_blend_epi8(above, *stay, kept);
                }
            }
            let begin = _mm512_set1_epi8(8 * plane as i8);
            let (lower, upper) = (_mm512_add_epi8(lower, begin), _mm512_add_epi8(upper, begin));
            for (leaf, stay) in leaf.iter_mut().zip(stay) {
                let low = _mm512_shuffle_epi8(lower, _mm512_and_si512(stay, nibble));
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(stay), nibble);
                let high = _mm512_shuffle_epi8(upper, high);
                *leaf = _mm512_min_epu8(*leaf, _mm512_min_epu8(low, high));
            }
        }
        for (table, target) in planes.tables_of(part, &planes.floats) {
            for (group, leaf) in leaf.into_iter().enumerate() {
                let out = &mut out[target * BLOCK + (first + group) * GROUP..][..GROUP];
                add_512(table, leaf, out);
            }
        }
    }
}

#[target_feature(enable = "sse2")]
fn load(bytes: &[i8; 16]) -> __m128i {
    // SAFETY: 16 bytes are read of an array of 16 bytes.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn load_group_512(bytes: &[i8; GROUP]) -> __m512i {
    // SAFETY: 64 bytes are read of an array of 64.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn count_all_512(thresholds: &[f32], column: &[f32]) -> Counts {
    let mut group = [0; GROUP];
    let (sixteens, _) = group.as_chunks_mut::<16>();
    for (counted, values) in sixteens.iter_mut().zip(column.chunks(16)) {
        let there = (u32::from(u16::MAX) >> (16 - values.len())) as u16;
        // SAFETY: the mask lets only the values of the chunk be read.
        let values = unsafe { _mm512_maskz_loadu_ps(there, values.as_ptr()) };
        let (mut counts, one) = (_mm512_setzero_si512(), _mm512_set1_epi32(1));
        for threshold in thresholds {
            let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_set1_ps(*threshold), values);
            counts = _mm512_mask_add_epi32(counts, below, counts, one);
        }
        // SAFETY: 16 counts are written to an array of 16.
        unsafe { _mm512_storeu_si512(counted.as_mut_ptr().cast(), counts) };
    }
    group
}

#[target_feature(enable = "avx512f,popcnt")]
fn look_up_512(feature: &Feature, column: &[f32]) -> Counts {
    let mut counts = [0; GROUP];
    for (count, value) in counts.iter_mut().zip(column) {
        let value = _mm512_set1_ps(*value);
        let below = |sixteen: &[f32; SIXTEEN]| {
            // SAFETY: 16 floats are read of an array of 16.
            let sixteen = unsafe { _mm512_loadu_ps(sixteen.as_ptr()) };
            _mm512_cmp_ps_mask::<_CMP_LT_OQ>(sixteen, value).count_ones() as usize
        };
        *count = feature.count(below) as u32;
    }
    counts
}

#[target_feature(enable = "avx2")]
fn look_up_256(feature: &Feature, column: &[f32]) -> Counts {
    let mut counts = [0; GROUP];
    for (count, value) in counts.iter_mut().zip(column) {
        let value = _mm256_set1_ps(*value);
        let below = |sixteen: &[f32; SIXTEEN]| {
            // SAFETY: 16 floats are read of an array of 16.
            let (low, high) = unsafe {
                let low = _mm256_loadu_ps(sixteen.as_ptr());
                (low, _mm256_loadu_ps(sixteen.as_ptr().add(8)))
            };
            let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(low, value));
            let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(high, value));
            // They ascend: none that is below comes after one that is not.
            (low | high << 8).trailing_ones() as usize
        };
        *count = feature.count(below) as u32;
    }
    counts
}

/// Adds each row's leaf of the table, which lies in up to four registers.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn add_512(table: &[Floats], leaf: __m512i, out: &mut [f32]) {
    // No leaf is in a quarter that is not there.
    let quarter = |quarter: usize| table.get(quarter).unwrap_or(&table[0]);
    // SAFETY: 16 floats are read of each array of 16.
    let load = |place: usize| unsafe { _mm512_loadu_ps(quarter(place).0.as_ptr()) };
    let bytes = [
        _mm512_extracti32x4_epi32::<0>(leaf),
        _mm512_extracti32x4_epi32::<1>(leaf),
        _mm512_extracti32x4_epi32::<2>(leaf),
        _mm512_extracti32x4_epi32::<3>(leaf),
    ];
    let (low, high) = (load(0), load(1));
    for (bytes, out) in bytes.into_iter().zip(out.as_chunks_mut::<16>().0) {
        let places = _mm512_cvtepu8_epi32(bytes);
        let mut values = _mm512_permutex2var_ps(low, places, high);
        if table.len() > 2 {
            let upper = _mm512_permutex2var_ps(load(2), places, load(3));
            let is_upper = _mm512_test_epi32_mask(places, _mm512_set1_epi32(32));
            values = _mm512_mask_blend_ps(is_upper, values, upper);
        }
        // SAFETY: 16 floats are read from and written to an array of 16.
        unsafe {
            let sum = _mm512_add_ps(_mm512_loadu_ps(out.as_ptr()), values);
            _mm512_storeu_ps(out.as_mut_ptr(), sum);
        }
    }
}

/// Scores the first groups of a block; `lines` are written before they are read.
#[target_feature(enable = "avx2,fma")]
pub(super) fn avx2(
    planes: &Planes,
    columns: &impl Columns,
    groups: usize,
    lines: &mut [Line],
    out: &mut [f32],
) {
    for group in 0..groups {
        for feature in &planes.bins.features {
            let column = group_of(columns.column(feature.number), group);
            let counts = if feature.thresholds().len() <= FEW {
                // Compiled with the instructions of this function.
                count_all(feature.thresholds(), column)
            } else if feature.is_in_sixteens() {
                look_up_256(feature, column)
            } else {
                feature.search(column)
            };
            feature.place(&counts, column, group, lines);
        }
    }
    if groups == ALL {
        trees_256::<{ 2 * ALL }>(planes, 0, lines, out);
    } else {
        for group in 0..groups {
            trees_256::<2>(planes, group, lines, out);
        }
    }
}

/// All trees over the `H` halves of groups of rows from the group `first` on.
#[target_feature(enable = "avx2,fma")]
fn trees_256<const H: usize>(planes: &Planes, first: usize, lines: &[Line], out: &mut [f32]) {
    let lower = _mm256_broadcastsi128_si256(load(&LOWEST));
    let upper = _mm256_broadcastsi128_si256(load(&LOWEST_UPPER));
    let nibble = _mm256_set1_epi8(15);
    for part in &planes.parts {
        let mut leaf = [_mm256_set1_epi8(-1); H];
        for (plane, cuts) in planes.planes_of(part) {
            let mut stay = [_mm256_set1_epi8(-1); H];
            for cut in cuts {
                let line = lines[usize::from(cut.line)].0.as_flattened();
                let (halves, _) = line.as_chunks::<32>();
                let halves = &halves[2 * first..][..H];
                // There is no test for at most, but one for below; the largest byte is no test's.
                let least = _mm256_set1_epi8(cut.most.wrapping_add(1));
                let keep = _mm256_set1_epi8((!cut.gone).cast_signed());
                for (stay, half) in stay.iter_mut().zip(halves) {
                    // SAFETY: 32 bytes are read of an array of 32.
                    let bytes = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
                    let below = _mm256_cmpgt_epi8(least, bytes);
                    *stay = _mm256_and_si256(*stay, _mm256_or_si256(below, keep));
                }
            }
            let begin = _mm256_set1_epi8(8 * plane as i8);
            let (lower, upper) = (_mm256_add_epi8(lower, begin), _mm256_add_epi8(upper, begin));
            for (leaf, stay) in leaf.iter_mut().zip(stay) {
                let low = _mm256_shuffle_epi8(lower, _mm256_and_si256(stay, nibble));
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(stay), nibble);
                let high = _mm256_shuffle_epi8(upper, high);
                *leaf = _mm256_min_epu8(*leaf, _mm256_min_epu8(low, high));
            }
        }
        for (table, target) in planes.tables_of(part, &planes.bytes) {
            let out = &mut out[target * BLOCK + first * GROUP..][..32 * H];
            let (out, _) = out.as_chunks_mut::<32>();
            match table {
                [one] => add_256(&[one], &leaf, out),
                [one, two] => add_256(&[one, two], &leaf, out),
                [one, two, three] => add_256(&[one, two, three, three], &leaf, out),
                [one, two, three, four] => add_256(&[one, two, three, four], &leaf, out),
                _ => {}
            }
        }
    }
}

/// Adds each row's leaf: the four bytes of its float are looked up one by one, 32 rows at a time, and then put
/// together.
#[inline]
#[target_feature(enable = "avx2")]
fn add_256<const S: usize>(tables: &[&Bytes; S], leaves: &[__m256i], out: &mut [[f32; 32]]) {
    // Putting bytes together leaves every other four rows apart, in the upper half.
    let order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    for (out, leaf) in out.iter_mut().zip(leaves) {
        let places = _mm256_permutevar8x32_epi32(*leaf, order);
        let is_odd = _mm256_slli_epi16::<3>(places);
        let is_upper = _mm256_slli_epi16::<2>(places);
        let byte = |byte: usize| {
            let of = |table: usize| {
                // SAFETY: 16 bytes are read of an array of 16.
                let bytes = unsafe { _mm_loadu_si128(tables[table].0[byte].as_ptr().cast()) };
                _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), places)
            };
            match S {
                1 => of(0),
                2 => _mm256_blendv_epi8(of(0), of(1), is_odd),
                _ => {
                    let lower = _mm256_blendv_epi8(of(0), of(1), is_odd);
                    let upper = _mm256_blendv_epi8(of(2), of(3), is_odd);
                    _mm256_blendv_epi8(lower, upper, is_upper)
                }
            }
        };
        let [first, second, third, fourth] = [byte(0), byte(1), byte(2), byte(3)];
        let low = _mm256_unpacklo_epi8(first, second);
        let high = _mm256_unpacklo_epi8(third, fourth);
        let low_rest = _mm256_unpackhi_epi8(first, second);
        let high_rest = _mm256_unpackhi_epi8(third, fourth);
        let floats = [
            _mm256_unpacklo_epi16(low, high),
            _mm256_unpackhi_epi16(low, high),
            _mm256_unpacklo_epi16(low_rest, high_rest),
            _mm256_unpackhi_epi16(low_rest, high_rest),
        ];
        for (out, floats) in out.as_chunks_mut::<8>().0.iter_mut().zip(floats) {
            // SAFETY: 8 floats are read from and written to an array of 8.
            unsafe {
                let sum = _mm256_add_ps(_mm256_loadu_ps(out.as_ptr()), _mm256_castsi256_ps(floats));
                _mm256_storeu_ps(out.as_mut_ptr(), sum);
            }
        }
    }
}

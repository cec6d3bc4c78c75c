//! Byte planes with the vector instructions of x86: a group of 64 rows in one register (AVX-512) or in two (AVX2). A whole block
//! goes through a tree before the next one, so that a model larger than the nearest cache is read once a block.

use std::arch::x86_64::*;

use super::bins::{FEW, Feature, group_of};
use super::planes::{Planes, Table};
use super::{BLOCK, Columns, GROUP, Line};

/// The lowest set bit of a nibble, and 8 for none.
const LOWEST: [i8; 16] = [8, 0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0];

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
            if !feature.is_single() {
                feature.fill_many(column, group, lines);
                continue;
            }
            let bytes = if feature.thresholds.len() <= FEW {
                count_all_512(&feature.thresholds, column)
            } else {
                look_up_512(feature, column)
            };
            feature.place_bytes(bytes, column, group, lines);
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
    let lookup = _mm512_broadcast_i32x4(load_lowest());
    let nibble = _mm512_set1_epi8(15);
    for part in &planes.parts {
        let mut leaf = [_mm512_setzero_si512(); G];
        for (plane, cuts) in planes.planes_of(part) {
            let mut stay = [_mm512_set1_epi8(-1); G];
            for cut in cuts {
                let line = &lines[usize::from(cut.line)];
                let most = _mm512_set1_epi8(cut.byte as i8);
                let keep = _mm512_set1_epi8(cut.keep as i8);
                for (stay, bytes) in stay.iter_mut().zip(&line.0[first..first + G]) {
                    let above = _mm512_cmpgt_epu8_mask(load_group_512(bytes), most);
                    let kept = _mm512_and_si512(*stay, keep);
                    *stay = _mm512_mask_blend_epi8(above, *stay, kept);
                }
            }
            for (leaf, stay) in leaf.iter_mut().zip(stay) {
                let some = _mm512_test_epi8_mask(stay, stay);
                let low = _mm512_shuffle_epi8(lookup, _mm512_and_si512(stay, nibble));
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(stay), nibble);
                let high = _mm512_add_epi8(_mm512_shuffle_epi8(lookup, high), _mm512_set1_epi8(4));
                let bit = _mm512_min_epu8(low, high);
                let begin = _mm512_set1_epi8(8 * plane as i8);
                *leaf = _mm512_mask_add_epi8(*leaf, some, bit, begin);
            }
        }
        for (table, target) in planes.tables_of(part) {
            for (group, leaf) in leaf.into_iter().enumerate() {
                let out = &mut out[target * BLOCK + (first + group) * GROUP..][..GROUP];
                add_512(table, part.leaves, leaf, out);
            }
        }
    }
}

#[target_feature(enable = "sse2")]
fn load_lowest() -> __m128i {
    // SAFETY: 16 bytes are read of an array of 16 bytes.
    unsafe { _mm_loadu_si128(LOWEST.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn load_group_512(bytes: &[u8; GROUP]) -> __m512i {
    // SAFETY: 64 bytes are read of an array of 64.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn count_all_512(thresholds: &[f32], column: &[f32]) -> [u8; GROUP] {
    let mut group = [0; GROUP];
    let (sixteens, _) = group.as_chunks_mut::<16>();
    for (bytes, values) in sixteens.iter_mut().zip(column.chunks(16)) {
        let there = (u32::from(u16::MAX) >> (16 - values.len())) as u16;
        // SAFETY: the mask lets only the values of the chunk be read.
        let values = unsafe { _mm512_maskz_loadu_ps(there, values.as_ptr()) };
        let (mut counts, one) = (_mm512_setzero_si512(), _mm512_set1_epi32(1));
        for threshold in thresholds {
            let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_set1_ps(*threshold), values);
            counts = _mm512_mask_add_epi32(counts, below, counts, one);
        }
        // SAFETY: 16 bytes are written to an array of 16 bytes.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(counts)) };
    }
    group
}

#[target_feature(enable = "avx512f,popcnt")]
fn look_up_512(feature: &Feature, column: &[f32]) -> [u8; GROUP] {
    let mut bytes = [0; GROUP];
    // SAFETY: 16 floats are read of an array of 16.
    let pivots = unsafe { _mm512_loadu_ps(feature.pivots.as_ptr()) };
    let (sixteens, _) = feature.table.as_chunks::<16>();
    for (byte, value) in bytes.iter_mut().zip(column) {
        let value = _mm512_set1_ps(*value);
        let whole = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(pivots, value).count_ones() as usize;
        // The last pivot is +inf, which is below nothing.
        let sixteen = &sixteens[whole & 15];
        // SAFETY: 16 floats are read of an array of 16.
        let sixteen = unsafe { _mm512_loadu_ps(sixteen.as_ptr()) };
        let rest = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(sixteen, value).count_ones() as usize;
        *byte = (16 * (whole & 15) + rest) as u8;
    }
    bytes
}

/// Adds each row's leaf of the table; the table's 64 floats lie in up to four registers.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn add_512(table: &Table, leaves: u32, leaf: __m512i, out: &mut [f32]) {
    let (quarters, _) = table.0.as_chunks::<16>();
    // SAFETY: 16 floats are read of each array of 16.
    let load = |quarter: usize| unsafe { _mm512_loadu_ps(quarters[quarter].as_ptr()) };
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
        if leaves > 32 {
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
        // Compiled with the instructions of this function.
        planes.bins.fill(columns, group, lines);
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
    let lookup = _mm256_broadcastsi128_si256(load_lowest());
    let nibble = _mm256_set1_epi8(15);
    for part in &planes.parts {
        let mut leaf = [_mm256_setzero_si256(); H];
        for (plane, cuts) in planes.planes_of(part) {
            let mut stay = [_mm256_set1_epi8(-1); H];
            for cut in cuts {
                let line = lines[usize::from(cut.line)].0.as_flattened();
                let (halves, _) = line.as_chunks::<32>();
                let halves = &halves[2 * first..][..H];
                let most = _mm256_set1_epi8(cut.byte as i8);
                let keep = _mm256_set1_epi8(cut.keep as i8);
                for (stay, half) in stay.iter_mut().zip(halves) {
                    // SAFETY: 32 bytes are read of an array of 32.
                    let bytes = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
                    let below = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, most), bytes);
                    *stay = _mm256_and_si256(*stay, _mm256_or_si256(below, keep));
                }
            }
            for (leaf, stay) in leaf.iter_mut().zip(stay) {
                let none = _mm256_cmpeq_epi8(stay, _mm256_setzero_si256());
                let low = _mm256_shuffle_epi8(lookup, _mm256_and_si256(stay, nibble));
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(stay), nibble);
                let high = _mm256_add_epi8(_mm256_shuffle_epi8(lookup, high), _mm256_set1_epi8(4));
                let bit = _mm256_min_epu8(low, high);
                let place = _mm256_add_epi8(bit, _mm256_set1_epi8(8 * plane as i8));
                *leaf = _mm256_blendv_epi8(place, *leaf, none);
            }
        }
        for (table, target) in planes.tables_of(part) {
            let out = &mut out[target * BLOCK + first * GROUP..][..32 * H];
            let (halves, _) = out.as_chunks_mut::<32>();
            for (out, leaf) in halves.iter_mut().zip(leaf) {
                add_256(table, part.leaves, leaf, out);
            }
        }
    }
}

/// Adds each row's leaf of the table: the eights of the table that have leaves are looked up one after the other.
#[target_feature(enable = "avx2")]
fn add_256(table: &Table, leaves: u32, leaf: __m256i, out: &mut [f32; 32]) {
    let mut bytes = [0_u8; 32];
    // SAFETY: 32 bytes are written to an array of 32.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), leaf) };
    let (eights, _) = table.0.as_chunks::<8>();
    let eights = &eights[..(leaves as usize).div_ceil(8).clamp(1, 8)];
    for (bytes, out) in bytes
        .as_chunks::<8>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<8>().0)
    {
        // SAFETY: 8 bytes are read of an array of 8.
        let bytes = unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) };
        let places = _mm256_cvtepu8_epi32(bytes);
        let of = _mm256_srli_epi32::<3>(places);
        let mut values = _mm256_setzero_ps();
        for (eight, number) in eights.iter().zip(0..) {
            // SAFETY: 8 floats are read of an array of 8.
            let eight = unsafe { _mm256_loadu_ps(eight.as_ptr()) };
            let found = _mm256_permutevar8x32_ps(eight, places);
            let here = _mm256_castsi256_ps(_mm256_cmpeq_epi32(of, _mm256_set1_epi32(number)));
            values = _mm256_blendv_ps(values, found, here);
        }
        // SAFETY: 8 floats are read from and written to an array of 8.
        unsafe {
            let sum = _mm256_add_ps(_mm256_loadu_ps(out.as_ptr()), values);
            _mm256_storeu_ps(out.as_mut_ptr(), sum);
        }
    }
}

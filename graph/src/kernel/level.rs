//! Plain loops, compiled once for each set of instructions and run with the best that the processor has.

use super::Level;

/// A loop; `run` must be `inline(always)`, so that it takes on the instructions of the function it is called from.
pub(crate) trait Work {
    fn run(self);
}

/// Runs the work with the instructions of `level`, which must be one that [`Level::detect`] found, or less.
pub(crate) fn at(level: Level, work: impl Work) {
    match level {
        // SAFETY: no level is made but by `Level::detect` and by taking the lesser of it and another.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(work) },
        _ => work.run(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512(work: impl Work) {
    work.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(work: impl Work) {
    work.run();
}

//! A short run of the fuzzer in `fuzzing`, over other inputs each day would be no test: always the same.
//! `examples/fuzz.rs` runs it for as long as one likes.

mod fuzzing;

use std::time::Duration;

use fuzzing::{READERS, heap::Heap, run};

#[global_allocator]
static HEAP: Heap = Heap;

#[test]
fn damaged_models_are_refused_or_scored() {
    for reader in READERS {
        let report = run(reader, 0, Duration::from_secs(2)).unwrap();
        assert!(
            report.inputs > 50 && report.loaded > 5,
            "{}: {report:?}",
            reader.name
        );
    }
}

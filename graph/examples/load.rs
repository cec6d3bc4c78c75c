//! What it takes to load a model: `load MODEL...` prints processor time, the most bytes that are there at once beside
//! the file's, and those that stay.
#![expect(clippy::print_stdout, reason = "a tool of the benchmark")]

#[path = "../tests/fuzzing/heap.rs"]
mod heap;

use std::error::Error;
use std::fs;

use heap::{Heap, cost_of};
use whimbrel_graph::Model;

#[global_allocator]
static HEAP: Heap = Heap;

const TIMES: usize = 5;
/// Of loading again and again: the system counts processor time in steps of some milliseconds.
const NANOSECONDS: u64 = 50_000_000;

fn processor_time() -> Result<u64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or("").parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("model\tfile\tms\tpeak/file\tkept/file\ttrees\tnodes");
    for path in std::env::args().skip(1) {
        let bytes = fs::read(&path)?;
        let load = || match path.ends_with(".onnx") {
            true => Model::from_onnx(&bytes, None),
            false => Model::from_lightgbm(&bytes, None),
        };
        let mut best = f64::MAX;
        for _ in 0..TIMES {
            let (begun, mut loads) = (processor_time()?, 0_u32);
            let taken = loop {
                load()?;
                loads += 1;
                let taken = processor_time()? - begun;
                if taken > NANOSECONDS {
                    break taken;
                }
            };
            best = best.min(taken as f64 / f64::from(loads));
        }
        let (model, peak, kept) = cost_of(load);
        let model = model?;
        let (trees, nodes) = (model.trees(), model.nodes());
        let of_file = |part: usize| part as f64 / bytes.len() as f64;
        println!(
            "{path}\t{}\t{:.2}\t{:.2}\t{:.2}\t{trees}\t{nodes}",
            bytes.len(),
            best / 1e6,
            of_file(peak),
            of_file(kept),
        );
    }
    Ok(())
}

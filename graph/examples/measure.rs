//! How many rows one core scores, for `../tests/measure.py`, which says what ONNX Runtime does with the same rows.
//!
//! `measure MODEL ROWS COUNT LEVEL`: rows as for `score`; they are taken in turns of 8,192, so that no branch predictor
//! and no cache learns them. Prints the best of some windows, in rows for each second of processor time; the
//! milliseconds of loading; the kernels; and how many times the file's size the memory grew by while it was loaded.
#![expect(clippy::print_stdout, reason = "a tool of the benchmark")]

mod rows;

use std::error::Error;
use std::fs;
use std::path::Path;

use whimbrel_graph::{Column, Kind, Level, Model};

const TURN: usize = 8_192;
const WINDOWS: usize = 8;
const WINDOW_NANOSECONDS: u64 = 200_000_000;

/// The processor time of this thread, which others on the same cores do not stretch.
fn processor_time() -> Result<u64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or("").parse()?)
}

/// Kibibytes, by the name of a line of the process' status.
fn memory(name: &str) -> Result<f64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    Ok(number.ok_or("no such line")?.parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, rows, count, level] = arguments.as_slice() else {
        return Err("measure MODEL ROWS COUNT LEVEL".into());
    };
    let level = match level.as_str() {
        "portable" => Level::Portable,
        "avx2" => Level::Avx2,
        _ => Level::Avx512,
    };
    let bytes = fs::read(model)?;
    let size = bytes.len() as f64 / 1024.0;
    let (begun, before) = (processor_time()?, memory("VmRSS")?);
    let ending = Path::new(model).extension();
    let model = match ending.and_then(|ending| ending.to_str()) {
        Some("onnx") => Model::from_onnx_at(&bytes, None, level)?,
        Some("ubj" | "json") => Model::from_xgboost(&bytes, None)?,
        _ => Model::from_lightgbm(&bytes, None)?,
    };
    let load = processor_time()? - begun;
    let grown = (memory("VmHWM")? - before) / size;
    drop(bytes);
    let count: usize = count.parse()?;
    let data = rows::read(Path::new(rows), &model, count)?;
    let found = model.outputs().iter().enumerate();
    let mut found = found.filter_map(|(place, output)| match output.kind {
        Kind::Numbers { width, .. } => Some((place, width)),
        Kind::Label(_) => None,
    });
    let (output, width) = found.next().ok_or("no numbers")?;
    let mut scratch = model.scratch();
    let mut out = vec![0.0_f32; TURN * width];
    let (mut best, mut first) = (0.0_f64, 0);
    let mut window: Vec<Column<'_>> = Vec::with_capacity(data.len());
    for _ in 0..WINDOWS {
        let (begun, mut scored) = (processor_time()?, 0_u64);
        let taken = loop {
            for _ in 0..4 {
                window.clear();
                window.extend(data.iter().map(|data| data.column(first, TURN)));
                model.score(output, &window, TURN, &mut scratch, &mut out)?;
                scored += TURN as u64;
                first = if first + 2 * TURN > count {
                    0
                } else {
                    first + TURN
                };
            }
            let taken = processor_time()? - begun;
            if taken > WINDOW_NANOSECONDS {
                break taken;
            }
        };
        best = best.max(scored as f64 * 1e9 / taken as f64);
    }
    println!(
        "{best:.0}\t{:.2}\t{}\t{grown:.2}",
        load as f64 / 1e6,
        model.kernels().join(", ")
    );
    Ok(())
}

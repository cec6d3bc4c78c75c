//! How many rows one core scores, for `bench/kernels.py`, which says what other programs do with the same rows.
//!
//! `measure MODEL ROWS COUNT LEVEL`: rows as for `score`; they are taken in turns of 8,192, so that no branch predictor
//! and no cache learns them. It prints the kernels and a sum over the first turn's values, for the caller to
//! compare, or that this processor lacks the instructions. Then each line that it reads is answered by one window:
//! rows for each second of processor time. So the caller lets it take turns with the others.
#![expect(clippy::print_stdout, reason = "a tool of the benchmark")]

mod rows;

use std::error::Error;
use std::fs;
use std::path::Path;

use rows::Data;
use whimbrel_graph::{Column, Kind, Level, Model, Scratch};

const TURN: usize = 8_192;
const WINDOW_NANOSECONDS: u64 = 200_000_000;
/// The value at place i counts i modulo this, plus one, times: classes whose sum is one would hide each other.
const WEIGHTS: usize = 7;

/// The processor time of this thread, which others on the same cores do not stretch.
fn processor_time() -> Result<u64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or("").parse()?)
}

/// A model and rows that it takes in turns.
struct Bench<'a> {
    model: &'a Model,
    data: &'a [Data],
    count: usize,
    output: usize,
    scratch: Scratch,
    out: Vec<f32>,
    columns: Vec<Column<'a>>,
    first: usize,
}

impl<'a> Bench<'a> {
    fn new(model: &'a Model, data: &'a [Data], count: usize) -> Result<Self, Box<dyn Error>> {
        let found = model.outputs().iter().enumerate();
        let mut found = found.filter_map(|(place, output)| match output.kind {
            Kind::Numbers { width, .. } => Some((place, width)),
            Kind::Label(_) => None,
        });
        let (output, width) = found.next().ok_or("no numbers")?;
        if count < TURN {
            return Err(format!("at least {TURN} rows").into());
        }
        Ok(Self {
            model,
            data,
            count,
            output,
            scratch: model.scratch(),
            out: vec![0.0; TURN * width],
            columns: Vec::with_capacity(data.len()),
            first: 0,
        })
    }

    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        let first = self.first;
        self.columns.clear();
        self.columns
            .extend(self.data.iter().map(|data| data.column(first, TURN)));
        let (scratch, out) = (&mut self.scratch, &mut self.out);
        self.model
            .score(self.output, &self.columns, TURN, scratch, out)?;
        let next = first + TURN;
        self.first = if next + TURN > self.count { 0 } else { next };
        Ok(())
    }

    /// A weighted sum of the first turn's values.
    fn sum(&mut self) -> Result<f64, Box<dyn Error>> {
        self.turn()?;
        let weighted = self.out.iter().enumerate();
        Ok(weighted
            .map(|(place, value)| f64::from(*value) * (place % WEIGHTS + 1) as f64)
            .sum())
    }

    fn window(&mut self) -> Result<f64, Box<dyn Error>> {
        let (begun, mut scored) = (processor_time()?, 0_u64);
        loop {
            for _ in 0..4 {
                self.turn()?;
                scored += TURN as u64;
            }
            let taken = processor_time()? - begun;
            if taken > WINDOW_NANOSECONDS {
                return Ok(scored as f64 * 1e9 / taken as f64);
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, rows, count, level] = arguments.as_slice() else {
        return Err("measure MODEL ROWS COUNT LEVEL".into());
    };
    let level = match level.as_str() {
        "portable" => Level::Portable,
        "avx2" => Level::Avx2,
        "avx512" => Level::Avx512,
        _ => return Err("levels are portable, avx2 and avx512".into()),
    };
    if level > Level::detect() {
        println!("absent");
        return Ok(());
    }
    let model = Model::from_onnx_at(&fs::read(model)?, None, level)?;
    let count: usize = count.parse()?;
    let data = rows::read(Path::new(rows), &model, count)?;
    let mut bench = Bench::new(&model, &data, count)?;
    println!("{}\t{}", model.kernels().join(", "), bench.sum()?);
    for line in std::io::stdin().lines() {
        line?;
        println!("{:.0}", bench.window()?);
    }
    Ok(())
}

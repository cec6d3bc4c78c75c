//! Scores rows for the Python scripts beside it (`../tests/parity.py`): what it answers is compared there with what
//! ONNX Runtime and the models' own libraries say.
//!
//! `score MODEL ROWS COUNT OUT [LEVEL]`: ROWS has COUNT rows as `rows` reads them; OUT becomes a folder with a file for
//! each output. One line for each output goes to standard output, or one that says why not. A file called `estimator`
//! is read as what XGBoost's scikit-learn interface saved.
#![expect(clippy::print_stdout, reason = "a tool of the tests")]

mod rows;

use std::error::Error;
use std::fs;
use std::path::Path;

use whimbrel_graph::{Column, Kind, Labels, Level, Model};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, rows, count, out, level @ ..] = arguments.as_slice() else {
        return Err("score MODEL ROWS COUNT OUT [LEVEL]".into());
    };
    let level = match level.first().map(String::as_str) {
        Some("portable") => Level::Portable,
        Some("avx2") => Level::Avx2,
        _ => Level::detect(),
    };
    let bytes = fs::read(model)?;
    let file = Path::new(model);
    let loaded = match file.extension().and_then(|ending| ending.to_str()) {
        Some("onnx") => Model::from_onnx_at(&bytes, None, level),
        Some("ubj" | "json") if file.file_stem().is_some_and(|name| name == "estimator") => {
            Model::from_xgboost_estimator(&bytes, None)
        }
        Some("ubj" | "json") => Model::from_xgboost(&bytes, None),
        _ => Model::from_lightgbm(&bytes, None),
    };
    let model = match loaded {
        Ok(model) => model,
        Err(error) => {
            println!("refused\t{error}");
            return Ok(());
        }
    };
    let count: usize = count.parse()?;
    let data = rows::read(Path::new(rows), &model, count)?;
    let columns: Vec<Column<'_>> = data.iter().map(|data| data.column(0, count)).collect();
    println!("kernels\t{}", model.kernels().join(", "));
    fs::create_dir_all(out)?;
    let mut scratch = model.scratch();
    for (place, output) in model.outputs().iter().enumerate() {
        let file = Path::new(out).join(place.to_string());
        let (kind, bytes) = match &output.kind {
            Kind::Numbers { width, .. } => {
                let mut numbers = vec![0.0_f32; count * width];
                model.score(place, &columns, count, &mut scratch, &mut numbers)?;
                let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
                (format!("numbers\t{width}"), bytes.collect::<Vec<u8>>())
            }
            Kind::Label(labels) => {
                let mut places = vec![0_u32; count];
                model.classify(place, &columns, count, &mut scratch, &mut places)?;
                let labels = match labels {
                    Labels::Ints(ints) => ints.iter().map(i64::to_string).collect(),
                    Labels::Texts(texts) => texts.clone(),
                };
                let bytes = places.iter().flat_map(|place| place.to_le_bytes());
                (format!("label\t{}", labels.join("|")), bytes.collect())
            }
        };
        fs::write(file, bytes)?;
        println!("{}\t{kind}", output.name);
    }
    Ok(())
}

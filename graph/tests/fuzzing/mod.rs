//! Readers against damaged files: no panic, no endless loop, no memory out of proportion, and what loads scores. Each
//! input is named by its number: the same number makes the same bytes again.

mod bytes;
pub(crate) mod heap;
mod json;
mod members;
mod proto;
mod random;
mod text;
mod ubjson;
mod values;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use self::random::Random;
use self::values::{ROWS, Values};
use whimbrel_graph::{Element, Error, Fact, Kind, Known, Model};

/// The most that loading may take: so many times the file, and so many bytes.
const TIMES: usize = 64;
const BEYOND: usize = 16 << 20;
/// The most processor time that one input may take, in nanoseconds.
const SLOW: u64 = 2_000_000_000;

type Damage = fn(&mut Random, &mut Vec<u8>, &[u8]);

pub(crate) struct Reader {
    pub(crate) name: &'static str,
    /// What the names of its seeds in `corpus` end with.
    ending: &'static str,
    damage: Damage,
    load: fn(&[u8]) -> Result<Model, Error>,
}

/// Every reader of model files.
pub(crate) const READERS: &[Reader] = &[
    Reader {
        name: "onnx",
        ending: "onnx",
        damage: proto::damage,
        load: |file| Model::from_onnx(file, None),
    },
    Reader {
        name: "lightgbm",
        ending: "lgb",
        damage: text::damage,
        load: |file| Model::from_lightgbm(file, None),
    },
    Reader {
        name: "xgboost-json",
        ending: "json",
        damage: members::damage_json,
        load: xgboost,
    },
    Reader {
        name: "xgboost-ubjson",
        ending: "ubj",
        damage: members::damage_ubjson,
        load: xgboost,
    },
];

/// As the estimator that saved the file, or as the booster where that is no estimator's business.
fn xgboost(file: &[u8]) -> Result<Model, Error> {
    Model::from_xgboost_estimator(file, None).or_else(|_| Model::from_xgboost(file, None))
}

/// What is at work: the number of the input, for what watches from outside.
pub(crate) static AT: AtomicU64 = AtomicU64::new(0);

/// What an input came to.
struct Outcome {
    loaded: bool,
    /// The most bytes that loading took.
    peak: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) inputs: u64,
    pub(crate) loaded: u64,
    /// The most bytes that loading one of them took.
    pub(crate) peak: usize,
}

/// The models of the folder `corpus` that the reader reads.
#[expect(
    clippy::disallowed_methods,
    reason = "what runs tests says where they lie by the environment"
)]
pub(crate) fn seeds(reader: &Reader) -> Vec<Vec<u8>> {
    // Asked for when it runs: several checkouts may share what is compiled.
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let folder = here.join("tests/corpus");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|of| of == reader.ending));
    paths.sort();
    paths
        .iter()
        .filter_map(|path| fs::read(path).ok())
        .collect()
}

/// The input of that number.
pub(crate) fn input(reader: &Reader, seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut random = Random(number.wrapping_mul(0xd134_2543_de82_ef95));
    let mut file = random.pick(seeds).cloned().unwrap_or_default();
    let other = random.pick(seeds).cloned().unwrap_or_default();
    for _ in 0..=random.below(6) {
        if random.chance(90) {
            (reader.damage)(&mut random, &mut file, &other);
        } else {
            bytes::damage(&mut random, &mut file, &other);
        }
    }
    file.truncate(1 << 20);
    file
}

/// Processor time of this thread: what else the machine does must not fail an input.
fn processor_time() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().unwrap_or_default()
}

/// Inputs from number `first` on until the time is over; the first that fails, and why.
#[expect(
    clippy::disallowed_methods,
    reason = "runs for as long as it is told to"
)]
pub(crate) fn run(reader: &Reader, first: u64, time: Duration) -> Result<Report, String> {
    let (seeds, begun) = (seeds(reader), Instant::now());
    if seeds.is_empty() {
        return Err(format!("{}: no seeds", reader.name));
    }
    let mut report = Report::default();
    let failed = |number: u64, why: &str| format!("{} {number}: {why}", reader.name);
    while begun.elapsed() < time {
        let number = first + report.inputs;
        AT.store(number, Relaxed);
        let file = input(reader, &seeds, number);
        let begun = processor_time();
        match catch_unwind(AssertUnwindSafe(|| one(reader, &file, number))) {
            Ok(Ok(outcome)) => {
                report.loaded += u64::from(outcome.loaded);
                report.peak = report.peak.max(outcome.peak);
            }
            Ok(Err(why)) => return Err(failed(number, &why)),
            Err(_) => return Err(failed(number, "panic")),
        }
        if processor_time() - begun > SLOW {
            return Err(failed(number, "slow"));
        }
        report.inputs += 1;
    }
    Ok(report)
}

/// An error if loading the file takes too much, or if what loads does not score.
fn one(reader: &Reader, file: &[u8], number: u64) -> Result<Outcome, String> {
    let (loaded, peak, _) = heap::cost_of(|| (reader.load)(file));
    if peak > TIMES * file.len() + BEYOND {
        return Err(format!("{peak} bytes for a file of {}", file.len()));
    }
    let Ok(model) = loaded else {
        let loaded = false;
        return Ok(Outcome { loaded, peak });
    };
    let (probes, more, _) = heap::cost_of(|| model.probes());
    if more > TIMES * file.len() + BEYOND || probes.len() != model.columns() {
        return Err(format!("{more} bytes for what to compare by"));
    }
    let mut random = Random(number);
    let narrowed = model.narrowed_by(&facts(&model, &mut random));
    for model in [&model, &narrowed] {
        match score(model, &mut random) {
            Ok(()) | Err(Error::Rows(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let loaded = true;
    Ok(Outcome { loaded, peak })
}

/// Something of each column, whether it is true or not.
fn facts(model: &Model, random: &mut Random) -> Vec<Fact> {
    let inputs = model.inputs().iter();
    let elements = inputs.flat_map(|input| vec![input.element; input.width]);
    let numbers = Known {
        low: -1.0,
        high: if random.chance(70) { 3.0 } else { -1.0 },
        nan: random.chance(50),
    };
    let texts = ["a", "blue"].map(str::to_owned);
    let texts = texts[random.below(2)..].to_vec();
    let fact = |element| match element {
        Element::Text => Fact::OneOf(texts.clone()),
        _ => Fact::Within(numbers),
    };
    elements.map(fact).collect()
}

fn score(model: &Model, random: &mut Random) -> Result<(), Error> {
    let values = Values::of(random);
    let columns = values.columns(model);
    let mut scratch = model.scratch();
    for (place, output) in model.outputs().iter().enumerate() {
        match output.kind {
            Kind::Numbers { width, .. } => {
                let mut out = vec![0.0; ROWS * width];
                model.score(place, &columns, ROWS, &mut scratch, &mut out)?;
            }
            Kind::Label(_) => {
                let mut out = vec![0; ROWS];
                model.classify(place, &columns, ROWS, &mut scratch, &mut out)?;
            }
        }
    }
    Ok(())
}

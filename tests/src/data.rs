//! Small deterministic datasets and the models that score them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::csv::WriterBuilder;
use parquet::arrow::ArrowWriter;

use crate::checkout::checkout;

/// Rows of the trips table.
pub const TRIPS: usize = 16_000;
/// Parquet files it lies in.
pub const FILES: usize = 8;

/// The models that `make` trains into the checkout's git-ignored folder.
pub fn model(name: &str) -> Result<PathBuf> {
    let path = checkout(".dev/models").join(format!("{name}.onnx"));
    if !path.exists() {
        bail!("{} is missing: `make models` makes it", path.display());
    }
    path.canonicalize().context("resolve the model's path")
}

/// A small linear congruential step: the same data on every machine.
fn draw(seed: usize, salt: usize) -> usize {
    let mixed = (seed as u64)
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(salt as u64 * 1_442_695_040_888_963_407 + 1);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as usize
}

/// Trips `from..to`: a key, the nine features, a text column, and a column with NULLs that no model names.
pub fn trips(from: usize, to: usize) -> Result<RecordBatch> {
    let ints = |salt: usize, low: usize, span: usize| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            (from..to).map(|id| (low + draw(id, salt) % span) as i64),
        ))
    };
    let floats = |salt: usize, span: usize| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(
            (from..to).map(|id| (draw(id, salt) % span) as f64 / 100.0),
        ))
    };
    let zone: ArrayRef = Arc::new(StringArray::from_iter_values(
        (from..to).map(|id| format!("zone-{}", draw(id, 9) % 5)),
    ));
    let tip: ArrayRef = Arc::new(Float64Array::from_iter((from..to).map(|id| {
        (!draw(id, 10).is_multiple_of(4)).then(|| (draw(id, 11) % 1000) as f64 / 100.0)
    })));
    Ok(RecordBatch::try_from_iter(vec![
        (
            "trip_id",
            Arc::new(Int64Array::from_iter_values((from..to).map(|id| id as i64))) as ArrayRef,
        ),
        ("vendor_id", ints(1, 1, 2)),
        ("passenger_count", ints(2, 1, 6)),
        ("trip_distance", floats(3, 3000)),
        ("pickup_hour", ints(4, 0, 24)),
        ("pickup_weekday", ints(5, 0, 7)),
        ("pu_location", ints(6, 1, 265)),
        ("do_location", ints(7, 1, 265)),
        ("duration_min", floats(8, 9000)),
        ("payment_type", ints(12, 1, 4)),
        ("borough", zone),
        ("tip", tip),
    ])?)
}

/// A lookup table for joins: one row per zone but the last, so that outer joins find gaps.
pub fn zones() -> Result<RecordBatch> {
    let zone: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..4).map(|n| format!("zone-{n}")),
    ));
    let rate: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (0..4).map(|n| 1.0 + f64::from(n) / 10.0),
    ));
    Ok(RecordBatch::try_from_iter(vec![
        ("borough", zone),
        ("rate", rate),
    ])?)
}

pub fn write_parquet(path: &Path, batch: &RecordBatch) -> Result<()> {
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(batch)?;
    writer.close()?;
    Ok(())
}

pub fn write_csv(path: &Path, batch: &RecordBatch) -> Result<()> {
    WriterBuilder::new()
        .with_header(true)
        .build(File::create(path)?)
        .write(batch)?;
    Ok(())
}

/// The datasets of the golden queries, written below one folder.
pub struct Datasets {
    pub trips: PathBuf,
    pub trips_csv: PathBuf,
    pub zones: PathBuf,
    pub empty: PathBuf,
}

impl Datasets {
    pub fn write(folder: &Path) -> Result<Self> {
        let trips_dir = folder.join("trips");
        std::fs::create_dir_all(&trips_dir)?;
        let each = TRIPS / FILES;
        for file in 0..FILES {
            write_parquet(
                &trips_dir.join(format!("part-{file}.parquet")),
                &trips(file * each, (file + 1) * each)?,
            )?;
        }
        let all = Self {
            trips: trips_dir,
            trips_csv: folder.join("trips.csv"),
            zones: folder.join("zones.parquet"),
            empty: folder.join("empty.csv"),
        };
        write_csv(&all.trips_csv, &trips(0, 4000)?)?;
        write_parquet(&all.zones, &zones()?)?;
        write_csv(&all.empty, &trips(0, 0)?)?;
        Ok(all)
    }

    /// Table name and place, as `table add` takes them.
    pub fn tables(&self) -> [(&'static str, &Path); 4] {
        [
            ("trips", &self.trips),
            ("trips_csv", &self.trips_csv),
            ("zones", &self.zones),
            ("empty", &self.empty),
        ]
    }
}

/// A table that takes seconds to score, so that a fault can strike in the middle: `FILES` files of `rows_each` rows.
pub fn write_big(folder: &Path, rows_each: usize) -> Result<PathBuf> {
    write_files(folder, "big", FILES, rows_each)
}

/// Trips in a folder `name` of so many files.
pub fn write_files(folder: &Path, name: &str, files: usize, rows_each: usize) -> Result<PathBuf> {
    let all = folder.join(name);
    std::fs::create_dir_all(&all)?;
    for file in 0..files {
        write_parquet(
            &all.join(format!("part-{file}.parquet")),
            &trips(file * rows_each, (file + 1) * rows_each)?,
        )?;
    }
    Ok(all)
}

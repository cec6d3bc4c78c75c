//! Damages model files for as long as one likes: `fuzz READER SECONDS [FIRST]`, inputs from number FIRST on. What fails
//! is said with its number and written to the folder for temporary files; an input that never ends or takes the process
//! down is the number that was shown last, or one of the thousand after it.
#![expect(clippy::print_stdout, reason = "a tool of the tests")]

#[path = "../tests/fuzzing/mod.rs"]
mod fuzzing;

use std::error::Error;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fuzzing::heap::Heap;
use fuzzing::{AT, READERS, input, run, seeds};

#[global_allocator]
static HEAP: Heap = Heap;

/// Longer than any input may take, for what never ends.
const STUCK: Duration = Duration::from_secs(120);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, seconds, first @ ..] = arguments.as_slice() else {
        return Err("fuzz READER SECONDS [FIRST]".into());
    };
    let reader = READERS.iter().find(|reader| reader.name == name);
    let reader = reader.ok_or("no such reader")?;
    let first = first.first().map_or(Ok(0), |first| first.parse())?;
    let (sender, receiver) = std::sync::mpsc::sync_channel::<()>(1);
    std::thread::spawn(move || {
        let mut before = u64::MAX;
        while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = receiver.recv_timeout(STUCK) {
            let at = AT.load(Relaxed);
            println!("at {at}");
            if at == before {
                println!("{at} never ends");
                std::process::exit(1);
            }
            before = at;
        }
    });
    let result = run(reader, first, Duration::from_secs(seconds.parse()?));
    drop(sender);
    match result {
        Ok(report) => println!(
            "{name}: {} inputs, {} loaded, {:.1} MB at most",
            report.inputs,
            report.loaded,
            report.peak as f64 / 1e6,
        ),
        Err(why) => {
            let number = AT.load(Relaxed);
            let path = std::env::temp_dir().join(format!("fuzz-{name}-{number}"));
            std::fs::write(&path, input(reader, &seeds(reader), number))?;
            println!("{why}; see {}", path.display());
            std::process::exit(1);
        }
    }
    Ok(())
}

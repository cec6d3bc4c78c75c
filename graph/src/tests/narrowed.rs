//! Random programs, before and after what is known of their columns is made use of: the rows that it is true of must
//! not tell one from the other.

use std::sync::Arc;

use super::pipelines::texts_and_floats;
use crate::changes::Change;
use crate::encode::{Encoder, Ints, Keys, Texts, float_key};
use crate::fact::Fact;
use crate::kernel::{Level, TreeKernel};
use crate::narrow::narrow;
use crate::program::{Action, Block, Memory, Pair, Program, Register, Step, Trees};
use crate::read::{Reading, Rounding, Wide};
use crate::trees::Fold;
use crate::trees::reference::{Random, Shape, make};
use crate::{Column, Element, Known, Model};

const ROWS: usize = 70;
const TEXTS: [&str; 5] = [
    "",
    "card",
    "cash",
    "no",
    "a text that is longer than a few bytes",
];
const ELEMENTS: [Option<Element>; 4] = [
    Some(Element::Float32),
    Some(Element::Float64),
    Some(Element::Int64),
    Some(Element::Text),
];

/// One column of each kind, with all of which the facts are true.
struct Rows {
    floats: Vec<f32>,
    doubles: Vec<f64>,
    ints: Vec<i64>,
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Block for Rows {
    fn column(&self, _: usize) -> &[f32] {
        &self.floats
    }

    fn any_column(&self, number: usize) -> Column<'_> {
        match number {
            0 => Column::from(&self.floats[..]),
            1 => Column::from(&self.doubles[..]),
            2 => Column::from(&self.ints[..]),
            _ => Column::text(&self.offsets, &self.bytes),
        }
    }

    fn rows(&self) -> usize {
        ROWS
    }
}

fn known(random: &mut Random, nan: bool) -> Known {
    let (one, other) = (random.value(false), random.value(false));
    let nan = nan && random.chance(30);
    let (low, high) = match random.below(4) {
        0 => {
            return Known {
                nan,
                ..Known::NOTHING
            };
        }
        1 | 2 => (one, one),
        _ => (one.min(other), one.max(other)),
    };
    Known { low, high, nan }
}

fn facts(random: &mut Random) -> Vec<Fact> {
    let (floats, doubles) = (known(random, true), known(random, true));
    // Some whole number is within the bounds.
    let [low, high] = [0, 1].map(|_| random.below(14) as f32 - 4.0);
    let ints = match random.below(4) {
        0 => Known {
            nan: false,
            ..Known::NOTHING
        },
        1 => Known::between(low, low),
        2 => Known::between(low - 0.5, low + high.abs()),
        _ => Known::between(f32::NEG_INFINITY, high),
    };
    let texts: Vec<String> = (0..1 + random.below(3)).map(|_| text(random)).collect();
    let texts = match random.chance(70) {
        true => Fact::OneOf(texts),
        false => Fact::Within(Known::NOTHING),
    };
    vec![floats.into(), doubles.into(), ints.into(), texts]
}

fn text(random: &mut Random) -> String {
    TEXTS[random.below(TEXTS.len())].to_owned()
}

fn within(random: &mut Random, known: Known) -> f32 {
    if known.nan && random.chance(20) {
        return f32::NAN;
    }
    let value = random.value(false);
    match random.below(3) {
        0 => known.low,
        1 => known.high,
        _ => value.clamp(known.low, known.high),
    }
}

/// One of those that round to the float.
fn double(random: &mut Random, near: f32) -> f64 {
    let double = f64::from(near);
    let other = double * (1.0 + (random.below(3) as f64 - 1.0) * 1e-9);
    match other as f32 == near {
        true => other,
        false => double,
    }
}

fn rows(random: &mut Random, facts: &[Fact]) -> Rows {
    let mut rows = Rows {
        floats: Vec::new(),
        doubles: Vec::new(),
        ints: Vec::new(),
        offsets: vec![0],
        bytes: Vec::new(),
    };
    let [
        Fact::Within(floats),
        Fact::Within(doubles),
        Fact::Within(ints),
        texts,
    ] = facts
    else {
        panic!("{facts:?}");
    };
    for _ in 0..ROWS {
        rows.floats.push(within(random, *floats));
        let near = within(random, *doubles);
        rows.doubles.push(double(random, near));
        let int = random.below(20) as f32 - 8.0;
        rows.ints
            .push(int.clamp(ints.low.ceil(), ints.high.floor()) as i64);
        let text = match texts {
            Fact::OneOf(texts) => texts[random.below(texts.len())].clone(),
            Fact::Within(_) => text(random),
        };
        rows.bytes.extend_from_slice(text.as_bytes());
        rows.offsets.push(rows.bytes.len() as i32);
    }
    rows
}

/// Steps of one result each.
struct Maker<'a> {
    random: &'a mut Random,
    program: Program,
    /// Registers of floats.
    floats: Vec<Register>,
    /// Registers of places, and how many places there are.
    places: Vec<(Register, usize)>,
}

impl Maker<'_> {
    fn step(&mut self, from: Vec<Register>, action: Action, count: usize) -> Register {
        let to = self.program.slots;
        self.program.slots += count;
        self.program.steps.push(Step {
            from,
            action,
            to,
            count,
        });
        Register::Slot(to)
    }

    fn encode(&mut self, from: Register, keys: Keys, count: usize) {
        let fails: Vec<bool> = match self.random.chance(15) {
            true => (0..=count).map(|place| place == count).collect(),
            false => Vec::new(),
        };
        let encoder = Arc::new(Encoder { keys, fails });
        let places = self.step(vec![from], Action::Encode(encoder), 1);
        self.places.push((places, count + 1));
        self.floats.push(places);
    }

    fn encoders(&mut self) {
        let texts = ["cash", "no", "a text that is longer than a few bytes", "x"];
        let texts = texts[self.random.below(3)..]
            .iter()
            .map(|text| (*text).to_owned());
        let texts: Vec<String> = texts.collect();
        let count = texts.len();
        self.encode(Register::Column(3), Keys::Texts(Texts::of(texts)), count);
        let near: Vec<i64> = (-2..self.random.below(9) as i64).collect();
        for (from, keys, changes) in [
            (Register::Column(2), &near[..], Vec::new()),
            (Register::Column(2), &[3, 1 << 40, -7], vec![Wide::Add(2.0)]),
            (
                Register::Column(1),
                &near[..],
                vec![Wide::Multiply(-0.5), Wide::Whole],
            ),
            (Register::Column(0), &[0, 1, i64::MIN], Vec::new()),
        ] {
            let ints = Ints::of(keys);
            self.encode(from, Keys::Ints { ints, changes }, keys.len());
        }
        let keys = [0.0, 1.0, -6.0, 3.5].map(float_key);
        self.encode(
            Register::Column(0),
            Keys::Floats(Ints::of(&keys)),
            keys.len(),
        );
    }

    fn reads(&mut self) {
        let changes = [Vec::new(), vec![Wide::Subtract(1.5), Wide::Multiply(-2.0)]];
        for (column, changes) in [(1, &changes[0]), (1, &changes[1]), (2, &changes[0])] {
            let changes = changes.clone();
            let rounding = [Rounding::Up, Rounding::Down][self.random.below(2)];
            let reading = Reading { changes, rounding };
            let read = self.step(vec![Register::Column(column)], Action::Read(reading), 1);
            self.floats.push(read);
        }
    }

    fn any(&mut self) -> Register {
        self.floats[self.random.below(self.floats.len())]
    }

    fn change(&mut self) -> Change {
        let value = self.random.below(13) as f32 / 2.0 - 3.0;
        let all = [
            Change::Add(value),
            Change::SubtractFrom(value),
            Change::Multiply(value),
            Change::Divide(value),
            Change::Impute {
                missing: f32::NAN,
                value,
            },
            Change::IsAbove(value),
            Change::IsEqual(value),
            Change::IsNotZero,
            Change::Clip {
                least: value,
                most: value + 2.0,
            },
            Change::Choose {
                zero: value,
                other: 1.0,
            },
            Change::Whole(64),
            Change::Sigmoid,
            Change::Exp,
            Change::Abs,
            Change::Negate,
        ];
        all[self.random.below(all.len())]
    }

    fn more(&mut self) {
        let (from, action) = match self.random.below(6) {
            0..=2 => {
                let (places, count) = self.places[self.random.below(self.places.len())];
                let odd = self.random.below(count);
                let hot = self.random.chance(60);
                let entries = (0..count).map(|place| match hot {
                    true => f32::from(u8::from(place == odd)),
                    false => self.random.value(true),
                });
                let entries: Vec<f32> = entries.collect();
                (vec![places], Action::Pick(entries.into()))
            }
            3 => {
                let changes = (0..1 + self.random.below(3))
                    .map(|_| self.change())
                    .collect();
                (vec![self.any()], Action::Change(changes))
            }
            4 => (vec![self.any(), self.any(), self.any()], Action::Choose),
            _ => {
                let pairs = [
                    Pair::Add,
                    Pair::Subtract,
                    Pair::Multiply,
                    Pair::Divide,
                    Pair::IsBelow,
                    Pair::IsAtMost,
                    Pair::IsEqual,
                ];
                let pair = pairs[self.random.below(pairs.len())];
                (vec![self.any(), self.any()], Action::Pair(pair))
            }
        };
        let made = self.step(from, action, 1);
        self.floats.push(made);
    }

    fn trees(&mut self) {
        let shape = Shape {
            features: self.floats.len(),
            targets: 2,
            fold: Fold::Sum,
            ..Shape::any(self.random)
        };
        let ensemble = make(self.random, shape).ensemble;
        let kernel = TreeKernel::new(&ensemble, Level::detect());
        let trees = Trees {
            ensemble: Arc::new(ensemble),
            kernel,
        };
        self.step(self.floats.clone(), Action::Trees(Arc::new(trees)), 2);
    }
}

fn program(random: &mut Random) -> Program {
    let mut maker = Maker {
        random,
        program: Program::default(),
        floats: vec![Register::Column(0)],
        places: Vec::new(),
    };
    maker.encoders();
    maker.reads();
    for _ in 0..14 {
        maker.more();
    }
    maker.trees();
    maker.program
}

/// The bits of all results, or nothing where the model fails.
fn run(program: &Program, rows: &Rows) -> Option<Vec<u32>> {
    let wanted: Vec<Register> = (0..program.slots).map(Register::Slot).collect();
    let mut memory = Memory::default();
    program.fit(&mut memory);
    program.run(&program.needed(&wanted), Level::detect(), rows, &mut memory);
    if memory.trouble.is_some() {
        return None;
    }
    let values = wanted
        .iter()
        .flat_map(|of| Program::read(*of, rows, &memory));
    // Which NaN it is says nothing.
    let bits = values.map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() });
    Some(bits.collect())
}

#[test]
fn rows_that_the_facts_are_true_of_keep_their_bits() {
    let mut random = Random(11);
    let (mut failed, mut constant, mut fewer) = (0, 0, 0);
    let nodes =
        |program: &Program| -> usize { program.trees().map(|trees| trees.ensemble.size().1).sum() };
    for turn in 0..1_500 {
        let program = program(&mut random);
        let facts = facts(&mut random);
        let rows = rows(&mut random, &facts);
        let narrowed = narrow(&program, &facts, &ELEMENTS, Level::detect());
        let expected = run(&program, &rows);
        assert_eq!(run(&narrowed, &rows), expected, "{turn} {facts:?}");
        failed += usize::from(expected.is_none());
        let is_constant = |step: &&Step| matches!(step.action, Action::Constant(_));
        constant += narrowed.steps.iter().filter(is_constant).count();
        fewer += usize::from(nodes(&narrowed) < nodes(&program));
    }
    assert!(failed > 100 && failed < 1_000, "{failed}");
    assert!(constant > 3_000 && fewer > 500, "{constant} {fewer}");
}

#[test]
fn a_text_that_is_known_is_not_read() {
    let model = Model::from_onnx(&texts_and_floats(1), None).unwrap();
    let fact = |texts: &[&str]| Fact::OneOf(texts.iter().map(|text| (*text).to_owned()).collect());
    let some = model.narrowed_by(&[fact(&["a", "é"])]);
    assert_eq!(some.used_columns(&[0]), model.used_columns(&[0]));
    let one = model.narrowed_by(&[fact(&["é"])]);
    assert_eq!(one.used_columns(&[0])[..2], [false, true]);
    let score = |model: &Model, texts: Column<'_>| {
        let mut out = [0.0; 2];
        let columns = [texts, Column::from(&[1.0_f32, 5.5][..])];
        let columns = &columns[..model.columns()];
        model
            .score(0, columns, 2, &mut model.scratch(), &mut out)
            .unwrap();
        out.map(f32::to_bits)
    };
    let texts = Column::text(&[0, 2, 4], "éé".as_bytes());
    let expected = score(&model, texts);
    assert_eq!(score(&some, texts), expected);
    assert_eq!(score(&one, Column::text(&[], &[])), expected);
}

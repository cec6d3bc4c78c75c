//! Lists to rows of a tensor: all of one length, one after the other, so that their values are the tensor. Where they are so
//! already, as images and embeddings are, nothing is copied.

use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, OffsetSizeTrait, UInt64Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field};
use whimbrel_proto::ids::Alias;
use whimbrel_proto::{Error, ErrorCode};

use crate::binding::InputElement;
use crate::exec::inputs::From;

/// How the lists of one input are made even.
#[derive(Debug)]
pub(super) struct Lists {
    sizes: Vec<Option<usize>>,
    /// Floats have NaN for a list, or a value in it, that is NULL.
    nulls: bool,
    /// The length that the model leaves open: the first list decides, and the others must follow.
    open: OnceLock<usize>,
}

/// A row whose list does not fit.
#[derive(Debug)]
pub(super) struct Uneven {
    row: usize,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Length { found: usize, wanted: usize },
    Null,
    Kernel(String),
}

impl Uneven {
    /// The error of the row, whose place `place` finds.
    pub(super) fn of(
        self,
        alias: &Alias,
        element: &InputElement,
        place: impl Fn(usize) -> From,
    ) -> Error {
        let From { row, partition } = place(self.row);
        let at = format!("row {} of partition {partition}", row + 1);
        let who = format!("PREDICT('{alias}'): input '{}'", element.name);
        let wants = element.wants();
        match self.problem {
            Problem::Length { found, wanted } => Error::new(
                ErrorCode::Data,
                format!("{who} takes {wants}, and a list of {found} where {wanted} are needed is in {at}"),
            )
            .with_hint("filter such rows out, or cut and fill their lists"),
            Problem::Null => Error::new(
                ErrorCode::Data,
                format!("{who} takes {wants}, and a NULL is in {at}"),
            )
            .with_hint("only float inputs can take NULL (as NaN): filter such rows out"),
            Problem::Kernel(why) => Error::new(ErrorCode::Bug, format!("{who}: {why}")),
        }
    }
}

impl Lists {
    /// None for an input that takes single values.
    pub(super) fn of(element: &InputElement) -> Option<Self> {
        let sizes = element.shape.iter().map(|size| usize::try_from(*size).ok());
        (!element.shape.is_empty()).then(|| Self {
            sizes: sizes.collect(),
            nulls: element.element.arrow().is_floating(),
            open: OnceLock::new(),
        })
    }

    /// The same values as lists of one length, without NULL among the lists.
    pub(super) fn even(&self, lists: &ArrayRef) -> Result<ArrayRef, Uneven> {
        let rows = lists.len();
        let depth = depth(lists.data_type());
        let mut level = Level {
            values: Arc::clone(lists),
            per_row: 1,
        };
        if depth == self.sizes.len() {
            for size in &self.sizes {
                level = self.unnest(level, *size)?;
            }
        } else {
            let whole = self.sizes.iter().copied().product::<Option<usize>>();
            level = self.unnest(level, whole)?;
        }
        if !self.nulls && level.values.null_count() > 0 {
            let nulls = level.values.logical_nulls();
            let first =
                nulls.and_then(|nulls| (0..nulls.len()).find(|place| nulls.is_null(*place)));
            return Err(Uneven {
                row: first.unwrap_or(0) / level.per_row.max(1),
                problem: Problem::Null,
            });
        }
        let length = i32::try_from(level.per_row).map_err(|error| kernel(error.to_string()))?;
        let field = Field::new_list_field(level.values.data_type().clone(), true);
        let even = FixedSizeListArray::try_new(Arc::new(field), length, level.values, None);
        let even = even.map_err(|error| kernel(error.to_string()))?;
        match even.len() == rows {
            true => Ok(Arc::new(even)),
            false => Err(kernel(format!("{} lists of {rows} are left", even.len()))),
        }
    }

    /// What the lists hold, one after the other; the size that is open is what most of the first of them have.
    fn unnest(&self, level: Level, size: Option<usize>) -> Result<Level, Uneven> {
        let Level { values, per_row } = level;
        let inner = match values.data_type() {
            DataType::List(_) => self.flat(values.as_list::<i32>(), size),
            DataType::LargeList(_) => self.flat(values.as_list::<i64>(), size),
            DataType::FixedSizeList(..) => self.fixed(values.as_fixed_size_list(), size),
            other => Err(kernel(format!("{other} is no list"))),
        };
        let (values, length) = inner.map_err(|uneven| Uneven {
            row: uneven.row / per_row.max(1),
            ..uneven
        })?;
        Ok(Level {
            values,
            per_row: per_row * length,
        })
    }

    fn flat<O: OffsetSizeTrait>(
        &self,
        lists: &GenericListArray<O>,
        size: Option<usize>,
    ) -> Result<(ArrayRef, usize), Uneven> {
        let offsets = lists.value_offsets();
        let length_of = |row: usize| offsets[row + 1].as_usize() - offsets[row].as_usize();
        let filled = (0..lists.len()).filter(|row| lists.is_valid(*row));
        let wanted = self.wanted(size, || commonest(filled.map(length_of)));
        for row in 0..lists.len() {
            if lists.is_null(row) {
                if !self.nulls {
                    return Err(null(row));
                }
            } else if length_of(row) != wanted {
                return Err(length(row, length_of(row), wanted));
            }
        }
        if lists.null_count() == 0 {
            let start = offsets[0].as_usize();
            return Ok((lists.values().slice(start, lists.len() * wanted), wanted));
        }
        let starts =
            (0..lists.len()).map(|row| lists.is_valid(row).then(|| offsets[row].as_usize()));
        taken(lists.values(), starts, wanted)
    }

    fn fixed(
        &self,
        lists: &FixedSizeListArray,
        size: Option<usize>,
    ) -> Result<(ArrayRef, usize), Uneven> {
        let own = usize::try_from(lists.value_length()).unwrap_or(0);
        let wanted = self.wanted(size, || Some(own));
        if own != wanted && !lists.is_empty() {
            return Err(length(0, own, wanted));
        }
        if lists.null_count() == 0 {
            return Ok((Arc::clone(lists.values()), wanted));
        }
        if !self.nulls {
            let first = (0..lists.len()).find(|row| lists.is_null(*row));
            return Err(null(first.unwrap_or(0)));
        }
        let starts = (0..lists.len()).map(|row| lists.is_valid(row).then_some(row * own));
        taken(lists.values(), starts, wanted)
    }

    fn wanted(&self, size: Option<usize>, found: impl FnOnce() -> Option<usize>) -> usize {
        if let Some(known) = size.or_else(|| self.open.get().copied()) {
            return known;
        }
        match found() {
            Some(found) => *self.open.get_or_init(|| found),
            None => 1,
        }
    }
}

/// The length that most have, so that an odd one among the first does not speak for all; of equals the first.
fn commonest(lengths: impl Iterator<Item = usize>) -> Option<usize> {
    let mut counts: Vec<(usize, usize)> = Vec::new();
    for length in lengths {
        match counts.iter_mut().find(|(known, _)| *known == length) {
            Some((_, count)) => *count += 1,
            None => counts.push((length, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    let found = counts.iter().find(|(_, count)| *count == most);
    found.map(|(length, _)| *length)
}

/// The values of lists within lists within rows.
struct Level {
    values: ArrayRef,
    per_row: usize,
}

/// `length` values from each start, NULL where there is none.
fn taken(
    values: &ArrayRef,
    starts: impl Iterator<Item = Option<usize>>,
    length: usize,
) -> Result<(ArrayRef, usize), Uneven> {
    let places = starts.flat_map(|start| {
        (0..length).map(move |offset| start.map(|start| (start + offset) as u64))
    });
    let places: UInt64Array = places.collect();
    let values = take(values, &places, None).map_err(|error| kernel(error.to_string()))?;
    Ok((values, length))
}

fn depth(data_type: &DataType) -> usize {
    crate::mapping::leaf(data_type).map_or(0, |(depth, _)| depth)
}

fn length(row: usize, found: usize, wanted: usize) -> Uneven {
    let problem = Problem::Length { found, wanted };
    Uneven { row, problem }
}

fn null(row: usize) -> Uneven {
    let problem = Problem::Null;
    Uneven { row, problem }
}

fn kernel(why: String) -> Uneven {
    let problem = Problem::Kernel(why);
    Uneven { row: 0, problem }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListArray};
    use arrow::datatypes::{Float32Type, Int64Type};

    use super::*;
    use crate::signature::ElementType;

    fn lists(shape: &[i64], element: ElementType) -> Lists {
        let element = InputElement {
            shape: shape.to_vec(),
            ..InputElement::scalar("x", true, element, 0)
        };
        Lists::of(&element).unwrap()
    }

    fn floats(rows: Vec<Option<Vec<Option<f32>>>>) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
    }

    fn values(even: &ArrayRef) -> (i32, Vec<Option<f32>>) {
        let even = even.as_fixed_size_list();
        let values = even.values().as_primitive::<Float32Type>();
        (even.value_length(), values.iter().collect())
    }

    #[test]
    fn even_lists_are_not_copied_and_nulls_become_holes() {
        let row = |from: u8| {
            Some(
                (from..from + 4)
                    .map(|n| Some(f32::from(n)))
                    .collect::<Vec<_>>(),
            )
        };
        let rows = floats(vec![row(0), row(4), row(8)]);
        let even = lists(&[2, 2], ElementType::Float32)
            .even(&rows.slice(1, 2))
            .unwrap();
        assert_eq!(
            values(&even),
            (4, (4..12).map(|n| Some(f32::from(n as u8))).collect())
        );
        let own = rows
            .as_list::<i32>()
            .values()
            .as_primitive::<Float32Type>()
            .values()
            .as_ptr();
        let kept = even
            .as_fixed_size_list()
            .values()
            .as_primitive::<Float32Type>();
        assert_eq!(kept.values().as_ptr(), own.wrapping_add(4));

        let holes = floats(vec![None, Some(vec![Some(1.0), None])]);
        let even = lists(&[2], ElementType::Float32).even(&holes).unwrap();
        assert_eq!(values(&even), (2, vec![None, None, Some(1.0), None]));
    }

    #[test]
    fn lists_of_lists_are_checked_at_every_level() {
        let inner = floats(vec![
            Some(vec![Some(1.0), Some(2.0)]),
            Some(vec![Some(3.0), Some(4.0)]),
            Some(vec![Some(5.0), Some(6.0)]),
            Some(vec![Some(7.0)]),
        ]);
        let field = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
        let outer: ArrayRef = Arc::new(FixedSizeListArray::new(field, 2, inner, None));
        let shape = lists(&[2, 2], ElementType::Float32);
        let first = shape.even(&outer.slice(0, 1)).unwrap();
        assert_eq!(
            values(&first),
            (4, vec![Some(1.0), Some(2.0), Some(3.0), Some(4.0)])
        );
        let uneven = shape.even(&outer).unwrap_err();
        assert_eq!(uneven.row, 1);
        assert!(
            matches!(
                uneven.problem,
                Problem::Length {
                    found: 1,
                    wanted: 2
                }
            ),
            "{uneven:?}"
        );
    }

    #[test]
    fn the_first_list_decides_a_size_that_the_model_leaves_open() {
        let open = lists(&[-1], ElementType::Float32);
        let two = floats(vec![Some(vec![Some(1.0), Some(2.0)])]);
        assert_eq!(values(&open.even(&two).unwrap()).0, 2);
        let three = floats(vec![Some(vec![Some(1.0); 2]), Some(vec![Some(1.0); 3])]);
        let error = open.even(&three).unwrap_err();
        let element = InputElement {
            shape: vec![-1],
            ..InputElement::scalar("x", true, ElementType::Float32, 0)
        };
        let error = error.of(&"m".parse().unwrap(), &element, |row| From {
            row: row + 40,
            partition: 3,
        });
        assert_eq!(
            error.to_string(),
            "PREDICT('m'): input 'x' takes a list of float32, and a list of 3 where 2 are needed is in row 42 of \
             partition 3; filter such rows out, or cut and fill their lists"
        );
    }

    #[test]
    fn a_null_is_refused_where_the_element_has_no_word_for_it() {
        let ints = lists(&[2], ElementType::Int64);
        let rows = vec![Some(vec![Some(1), Some(2)]), Some(vec![Some(3), None])];
        let holes: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows));
        let uneven = ints.even(&holes).unwrap_err();
        assert!(matches!((uneven.row, uneven.problem), (1, Problem::Null)));
        let field = Arc::new(Field::new_list_field(DataType::Int64, true));
        let numbers = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        let nulls = Some(vec![false, true].into());
        let lists: ArrayRef = Arc::new(FixedSizeListArray::new(field, 2, numbers, nulls));
        let uneven = ints.even(&lists).unwrap_err();
        assert!(matches!((uneven.row, uneven.problem), (0, Problem::Null)));
    }
}

//! What a condition that is true for a row says of the row's columns, and what an expression makes of it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal,
    TryCastExpr,
};
use datafusion::physical_plan::PhysicalExpr;

use super::{Known, Range};

/// Beyond it not every whole number is a double.
const WHOLE: f64 = (1_u64 << 53) as f64;

type Expr = Arc<dyn PhysicalExpr>;

/// Adds what `condition` says where it is true.
pub(super) fn hold(condition: &Expr, schema: &Schema, columns: &mut [Known]) {
    let told = told_by(condition, schema, columns.len());
    for (known, told) in columns.iter_mut().zip(told) {
        *known = std::mem::take(known).and(told);
    }
}

fn told_by(condition: &Expr, schema: &Schema, count: usize) -> Vec<Known> {
    let mut told = vec![Known::Anything; count];
    let join = |sides: [&Expr; 2], by: fn(Known, Known) -> Known| -> Vec<Known> {
        let [one, other] = sides.map(|side| told_by(side, schema, count));
        let pairs = one.into_iter().zip(other);
        pairs.map(|(one, other)| by(one, other)).collect()
    };
    if let Some(certain) = is_true(condition) {
        return told_by(certain, schema, count);
    }
    if let Some(sides) = both(condition) {
        return join(sides, Known::and);
    }
    if let Some(either) = condition.downcast_ref::<BinaryExpr>()
        && *either.op() == Operator::Or
    {
        return join([either.left(), either.right()], Known::or);
    }
    if let Some((place, known)) = of_one(condition, schema)
        && let Some(told) = told.get_mut(place)
    {
        *told = known;
    }
    told
}

/// What is asked to be true and not merely unknown, as guards around a call ask.
fn is_true(condition: &Expr) -> Option<&Expr> {
    let asked = condition.downcast_ref::<BinaryExpr>()?;
    let is_true = literal(asked.right())? == &ScalarValue::Boolean(Some(true));
    (*asked.op() == Operator::IsNotDistinctFrom && is_true).then(|| asked.left())
}

/// The conditions of which the one holds where both do: AND, and CASE that asks the second only where the first is true.
fn both(condition: &Expr) -> Option<[&Expr; 2]> {
    if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        return (*binary.op() == Operator::And).then(|| [binary.left(), binary.right()]);
    }
    let case = condition.downcast_ref::<CaseExpr>()?;
    let otherwise = literal(case.else_expr()?)?;
    match (case.expr(), case.when_then_expr(), otherwise) {
        (None, [(first, second)], ScalarValue::Boolean(Some(false))) => Some([first, second]),
        _ => None,
    }
}

/// A condition on one column.
fn of_one(condition: &Expr, schema: &Schema) -> Option<(usize, Known)> {
    if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        let (left, op, right) = (binary.left(), *binary.op(), binary.right());
        if let (Some(operand), Some(value)) = (Operand::of(left, schema), literal(right)) {
            return Some((operand.place, operand.compared(op, value)?));
        }
        let (operand, value) = (Operand::of(right, schema)?, literal(left)?);
        return Some((operand.place, operand.compared(op.swap()?, value)?));
    }
    if let Some(list) = condition.downcast_ref::<InListExpr>() {
        let operand = Operand::of(list.expr(), schema).filter(|_| !list.negated())?;
        let each = list.list().iter().map(|value| {
            literal(value)
                .and_then(|value| operand.compared(Operator::Eq, value))
                .unwrap_or_default()
        });
        return Some((operand.place, each.reduce(Known::or)?));
    }
    if let Some(null) = condition.downcast_ref::<IsNullExpr>() {
        let operand = Operand::of(null.arg(), schema).filter(|operand| operand.is_number())?;
        return Some((operand.place, Known::Numbers(Range::NAN)));
    }
    let some = condition.downcast_ref::<IsNotNullExpr>()?;
    let operand = Operand::of(some.arg(), schema).filter(Operand::is_whole)?;
    let any = Range::between(f64::NEG_INFINITY, f64::INFINITY);
    Some((operand.place, Known::Numbers(any)))
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    expr.downcast_ref::<Literal>().map(Literal::value)
}

/// A column, as it is or cast to a type that holds each of its values.
struct Operand<'a> {
    place: usize,
    own: &'a DataType,
}

impl<'a> Operand<'a> {
    fn of(expr: &Expr, schema: &'a Schema) -> Option<Self> {
        if let Some(column) = expr.downcast_ref::<Column>() {
            let own = schema.fields().get(column.index())?.data_type();
            let place = column.index();
            return Some(Self { place, own });
        }
        let cast = expr.downcast_ref::<CastExpr>()?;
        let inner = Self::of(cast.expr(), schema)?;
        holds(cast.cast_type(), inner.own).then_some(inner)
    }

    fn is_whole(&self) -> bool {
        self.own.is_integer()
    }

    fn is_number(&self) -> bool {
        self.is_whole() || matches!(self.own, DataType::Float32 | DataType::Float64)
    }

    fn compared(&self, op: Operator, value: &ScalarValue) -> Option<Known> {
        if let Some(Some(text)) = value.try_as_str() {
            let same = matches!(op, Operator::Eq | Operator::IsNotDistinctFrom);
            return (same && is_text(self.own)).then(|| Known::Texts(vec![text.to_owned()]));
        }
        let bound = number(value).filter(|_| self.is_number())?;
        if self.is_whole() && bound.abs() >= WHOLE {
            return None;
        }
        let range = match op {
            Operator::Eq | Operator::IsNotDistinctFrom => Range::between(bound, bound),
            Operator::Lt => self.at_most(self.below(bound)),
            Operator::LtEq => self.at_most(bound),
            Operator::Gt => self.at_least(self.above(bound)),
            Operator::GtEq => self.at_least(bound),
            _ => return None,
        };
        Some(Known::Numbers(range))
    }

    fn at_most(&self, high: f64) -> Range {
        Range {
            high,
            nan_above: false,
            nan_below: !self.is_whole(),
            ..Range::ALL
        }
    }

    fn at_least(&self, low: f64) -> Range {
        Range {
            low,
            nan_below: false,
            nan_above: !self.is_whole(),
            ..Range::ALL
        }
    }

    /// The largest value of the column's type that may be below `bound`. The two zeros are one number, but not for a filter.
    fn below(&self, bound: f64) -> f64 {
        if self.is_whole() {
            return bound.ceil() - 1.0;
        }
        match (self.own, bound == 0.0) {
            (_, true) => bound,
            (DataType::Float32, _) if f64::from(bound as f32) == bound => {
                f64::from((bound as f32).next_down())
            }
            (DataType::Float64, _) => bound.next_down(),
            _ => bound,
        }
    }

    fn above(&self, bound: f64) -> f64 {
        -Self { ..*self }.below(-bound)
    }
}

/// Whether every value of `from` is one of `to`, in the same order.
fn holds(to: &DataType, from: &DataType) -> bool {
    use DataType::{
        Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, UInt8, UInt16, UInt32, UInt64,
        Utf8, Utf8View,
    };
    match to {
        // Of the wide ones not quite, but for bounds that are doubles themselves.
        Float64 => matches!(
            from,
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float32
        ),
        Float32 => matches!(from, Int8 | Int16 | UInt8 | UInt16),
        Int64 => matches!(from, Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32),
        Int32 => matches!(from, Int8 | Int16 | UInt8 | UInt16),
        Int16 => matches!(from, Int8 | UInt8),
        UInt64 => matches!(from, UInt8 | UInt16 | UInt32),
        UInt32 => matches!(from, UInt8 | UInt16),
        UInt16 => matches!(from, UInt8),
        Utf8 | LargeUtf8 | Utf8View => is_text(from),
        _ => false,
    }
}

fn is_text(own: &DataType) -> bool {
    match own {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The number, where a double holds it.
pub fn number(value: &ScalarValue) -> Option<f64> {
    let number = match value {
        ScalarValue::Int8(Some(number)) => f64::from(*number),
        ScalarValue::Int16(Some(number)) => f64::from(*number),
        ScalarValue::Int32(Some(number)) => f64::from(*number),
        ScalarValue::Int64(Some(number)) => *number as f64,
        ScalarValue::UInt8(Some(number)) => f64::from(*number),
        ScalarValue::UInt16(Some(number)) => f64::from(*number),
        ScalarValue::UInt32(Some(number)) => f64::from(*number),
        ScalarValue::UInt64(Some(number)) => *number as f64,
        ScalarValue::Float32(Some(number)) => {
            return Some(f64::from(*number)).filter(|n| !n.is_nan());
        }
        ScalarValue::Float64(Some(number)) => return Some(*number).filter(|n| !n.is_nan()),
        ScalarValue::Dictionary(_, value) => return number(value),
        _ => return None,
    };
    (number.abs() < WHOLE).then_some(number)
}

/// What is known of a constant.
pub(super) fn constant(value: &ScalarValue) -> Known {
    match (number(value), value.try_as_str()) {
        (Some(number), _) => Known::Numbers(Range::between(number, number)),
        (None, Some(Some(text))) => Known::Texts(vec![text.to_owned()]),
        (None, _) => Known::Anything,
    }
}

/// What is known of an expression's values, from what is known of the columns.
pub(super) fn of_expr(expr: &Expr, schema: &Schema, columns: &[Known]) -> Known {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return columns.get(column.index()).cloned().unwrap_or_default();
    }
    if let Some(value) = literal(expr) {
        return constant(value);
    }
    let cast = expr.downcast_ref::<CastExpr>();
    let cast = cast.map(|cast| (cast.expr(), cast.cast_type()));
    let tried = expr.downcast_ref::<TryCastExpr>();
    let tried = tried.map(|cast| (cast.expr(), cast.cast_type()));
    let Some((inner, to)) = cast.or(tried) else {
        return Known::Anything;
    };
    let Ok(from) = inner.data_type(schema) else {
        return Known::Anything;
    };
    let fails = tried.is_some();
    match of_expr(inner, schema, columns) {
        Known::Texts(texts) if is_text(&from) && is_text(to) => Known::Texts(texts),
        Known::Numbers(range) => cast_range(range, &from, to, fails),
        Known::Texts(_) | Known::Anything => Known::Anything,
    }
}

/// A cast between numbers keeps their order. What it cannot hold is an error, or NULL where it is only tried.
fn cast_range(range: Range, from: &DataType, to: &DataType, fails: bool) -> Known {
    let is_float = |kind: &DataType| matches!(kind, DataType::Float32 | DataType::Float64);
    if !(from.is_integer() || is_float(from)) {
        return Known::Anything;
    }
    let (low, high) = match to {
        DataType::Float64 => (range.low, range.high),
        // The nearest, as each of the values becomes.
        DataType::Float32 => (f64::from(range.low as f32), f64::from(range.high as f32)),
        whole if whole.is_integer() => (range.low.trunc(), range.high.trunc()),
        _ => return Known::Anything,
    };
    Known::Numbers(Range {
        low,
        high,
        nan_below: range.nan_below || fails,
        nan_above: range.nan_above || fails,
    })
}

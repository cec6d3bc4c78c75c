//! The parameters of a statement. Their values are put into the parsed statement as literals before it is planned, never into its
//! text: so they may stand wherever a value may, PREDICT's arguments and LIMIT among them, and a score job keeps them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;
use datafusion::sql::parser::{CopyToSource, CopyToStatement, ExplainStatement, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Value, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};
use whimbrel_proto::{Error, ErrorCode};

/// How many parameters the statement has; its `?` have their numbers already.
pub(super) fn slots(statement: &Statement) -> Result<usize, Error> {
    let mut seen = Slots::default();
    match statement {
        Statement::Statement(ast) => walk(ast.as_ref(), &mut seen)?,
        Statement::CopyTo(CopyToStatement {
            source: CopyToSource::Query(query),
            ..
        }) => walk(query.as_ref(), &mut seen)?,
        Statement::Explain(ExplainStatement { statement, .. }) => return slots(statement),
        Statement::CopyTo(_) | Statement::CreateExternalTable(_) | Statement::Reset(_) => {}
    }
    let last = seen.0.last().copied().unwrap_or(0);
    match (1..=last).find(|number| !seen.0.contains(number)) {
        Some(missing) => Err(invalid(
            format!("the statement has a parameter ${last}, and no ${missing}"),
            "number parameters from $1 without a gap, or write ?",
        )),
        None => Ok(last),
    }
}

/// Puts the values in the places of the parameters; there must be one for each.
pub(super) fn bind(statement: &mut Statement, values: &[ScalarValue]) -> Result<(), Error> {
    let slots = slots(statement)?;
    if slots != values.len() {
        return Err(invalid(
            format!(
                "the statement has {slots} parameter(s), and {} value(s) were bound",
                values.len()
            ),
            "bind one value for each ? or $n",
        ));
    }
    if slots == 0 {
        return Ok(());
    }
    let literals = values.iter().enumerate();
    let literals: Vec<Expr> = literals
        .map(|(at, value)| literal(value).map_err(|why| unbindable(at + 1, value, why)))
        .collect::<Result<_, _>>()?;
    put(statement, &mut Literals(literals));
    Ok(())
}

fn put(statement: &mut Statement, literals: &mut Literals) {
    let _: ControlFlow<()> = match statement {
        Statement::Statement(ast) => ast.visit(literals),
        Statement::CopyTo(CopyToStatement {
            source: CopyToSource::Query(query),
            ..
        }) => query.visit(literals),
        Statement::Explain(ExplainStatement { statement, .. }) => {
            put(statement, literals);
            ControlFlow::Continue(())
        }
        Statement::CopyTo(_) | Statement::CreateExternalTable(_) | Statement::Reset(_) => {
            ControlFlow::Continue(())
        }
    };
}

fn walk(node: &impl Visit, seen: &mut Slots) -> Result<(), Error> {
    match node.visit(seen) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => Err(invalid(
            format!("'{name}' is no parameter"),
            "parameters are written ? or $1, $2, ...",
        )),
    }
}

#[derive(Default)]
struct Slots(BTreeSet<usize>);

impl Visitor for Slots {
    type Break = String;

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<String> {
        if let Value::Placeholder(name) = &value.value {
            match number(name) {
                Some(number) => drop(self.0.insert(number)),
                None => return ControlFlow::Break(name.clone()),
            }
        }
        ControlFlow::Continue(())
    }
}

/// What a client may bind is bounded by what a statement may hold.
const MOST: usize = 10_000;

fn number(name: &str) -> Option<usize> {
    let number = name.strip_prefix('$')?.parse().ok()?;
    (1..=MOST).contains(&number).then_some(number)
}

struct Literals(Vec<Expr>);

impl VisitorMut for Literals {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(name) = &value.value
            && let Some(literal) = number(name).and_then(|number| self.0.get(number - 1))
        {
            *expr = literal.clone();
        }
        ControlFlow::Continue(())
    }
}

/// The value as SQL has it. Types that SQL has no literal for are cast from their text.
fn literal(value: &ScalarValue) -> Result<Expr, &'static str> {
    let plain = |value: Value| Expr::Value(value.into());
    let text = |text: &str| plain(Value::SingleQuotedString(text.to_owned()));
    if let ScalarValue::Dictionary(_, inner) = value {
        return literal(inner);
    }
    if value.is_null() {
        return Ok(match value.data_type() {
            DataType::Null => plain(Value::Null),
            typed => cast(plain(Value::Null), &typed),
        });
    }
    Ok(match value {
        ScalarValue::Boolean(Some(truth)) => plain(Value::Boolean(*truth)),
        ScalarValue::Int64(Some(number)) => match number.is_negative() {
            false => plain(Value::Number(number.to_string(), false)),
            true => cast(text(&number.to_string()), &DataType::Int64),
        },
        ScalarValue::Utf8(Some(words))
        | ScalarValue::LargeUtf8(Some(words))
        | ScalarValue::Utf8View(Some(words)) => text(words),
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => plain(Value::HexStringLiteral(
            bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        )),
        scalar if is_flat(&scalar.data_type()) => cast(text(&shown(scalar)?), &scalar.data_type()),
        _ => return Err("lists, structs and maps are not taken"),
    })
}

fn is_flat(kind: &DataType) -> bool {
    kind.is_numeric() || kind.is_temporal()
}

fn shown(value: &ScalarValue) -> Result<String, &'static str> {
    let unread = "its text cannot be made";
    let array = value.to_array().map_err(|_| unread)?;
    let options = FormatOptions::default();
    let shown = ArrayFormatter::try_new(array.as_ref(), &options).map_err(|_| unread)?;
    shown.value(0).try_to_string().map_err(|_| unread)
}

/// `arrow_cast(value, 'type')`
fn cast(value: Expr, kind: &DataType) -> Expr {
    let kind = Expr::Value(Value::SingleQuotedString(kind.to_string()).into());
    let args = [value, kind].map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("arrow_cast")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn unbindable(number: usize, value: &ScalarValue, why: &str) -> Error {
    invalid(
        format!(
            "a value of the type {} cannot be bound to ${number}: {why}",
            value.data_type()
        ),
        "bind numbers, texts, booleans, bytes, dates and times",
    )
}

fn invalid(what: impl Into<String>, hint: &str) -> Error {
    Error::new(ErrorCode::Invalid, what).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::prelude::SessionContext;
    use whimbrel_predict::sql::rewrite_statement;

    use super::*;
    use crate::session::one_statement;

    fn parsed(sql: &str) -> Statement {
        let mut statement = one_statement(sql).unwrap();
        rewrite_statement(&mut statement).unwrap();
        statement
    }

    /// What a bound value is to the engine.
    async fn seen(value: ScalarValue) -> ScalarValue {
        let mut statement = parsed("SELECT ? AS v");
        bind(&mut statement, &[value]).unwrap();
        let ctx = SessionContext::new();
        let plan = ctx.state().statement_to_plan(statement).await.unwrap();
        let rows = ctx.execute_logical_plan(plan).await.unwrap();
        let batches = rows.collect().await.unwrap();
        ScalarValue::try_from_array(batches[0].column(0), 0).unwrap()
    }

    #[tokio::test]
    async fn a_value_arrives_as_it_was_bound() {
        let zone: Arc<str> = "+00:00".into();
        for value in [
            ScalarValue::Int64(Some(i64::MIN)),
            ScalarValue::Int64(Some(7)),
            ScalarValue::Int8(Some(-5)),
            ScalarValue::UInt64(Some(u64::MAX)),
            ScalarValue::Float32(Some(0.1)),
            ScalarValue::Float64(Some(1e300)),
            ScalarValue::Float64(Some(f64::NEG_INFINITY)),
            ScalarValue::Boolean(Some(false)),
            ScalarValue::Utf8(Some("it's; DROP TABLE t -- ?".to_owned())),
            ScalarValue::Binary(Some(vec![0, 255, 39])),
            ScalarValue::Date32(Some(19_000)),
            ScalarValue::TimestampMicrosecond(Some(1_700_000_000_123_456), None),
            ScalarValue::TimestampNanosecond(Some(1_700_000_000_123_456_789), Some(zone)),
            ScalarValue::Time64Microsecond(Some(3_600_000_001)),
            ScalarValue::Decimal128(Some(-12_345), 10, 2),
            ScalarValue::Float32(None),
            ScalarValue::Utf8(None),
        ] {
            assert_eq!(seen(value.clone()).await, value);
        }
        let nan = seen(ScalarValue::Float64(Some(f64::NAN))).await;
        assert!(matches!(nan, ScalarValue::Float64(Some(value)) if value.is_nan()));
    }

    #[test]
    fn places_are_counted_and_each_wants_one_value() {
        let one = ScalarValue::Int64(Some(1));
        let mut statement = parsed("SELECT ? FROM t WHERE a IN (?, ?) LIMIT ?");
        assert_eq!(slots(&statement).unwrap(), 4);
        assert!(bind(&mut statement, std::slice::from_ref(&one)).is_err());
        assert!(slots(&parsed("SELECT $2")).is_err());
        assert!(slots(&parsed("SELECT $x")).is_err());
        let mut copy = parsed("COPY (SELECT PREDICT('m', $1) FROM t) TO '/out/x.parquet'");
        bind(&mut copy, &[one]).unwrap();
        assert_eq!(slots(&copy).unwrap(), 0);
        let Statement::CopyTo(copy) = copy else {
            panic!("it is a COPY");
        };
        assert!(copy.to_string().contains("predict('m', 1)"));
    }

    #[test]
    fn what_has_no_literal_is_refused_by_its_number() {
        let list = ScalarValue::List(ScalarValue::new_list_nullable(
            &[ScalarValue::Int32(Some(1))],
            &DataType::Int32,
        ));
        let error = bind(&mut parsed("SELECT ?"), &[list]).unwrap_err();
        assert!(error.message().contains("$1"), "{error}");
    }
}

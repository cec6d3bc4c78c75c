//! The pass over a parsed statement, before names are resolved: PREDICT's forms are checked where the error can still speak
//! of what was written, and `?` parameters get the numbers that the planner needs.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, CopyToStatement, ExplainStatement, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use whimbrel_proto::{Error, ErrorCode};

use super::PREDICT_NAME;

/// Checks and normalises every PREDICT of the statement and numbers its `?` parameters in the order they are written.
pub fn rewrite_statement(statement: &mut Statement) -> Result<(), Error> {
    match statement {
        Statement::Statement(statement) => rewrite(statement.as_mut()),
        Statement::CopyTo(CopyToStatement {
            source: CopyToSource::Query(query),
            ..
        }) => rewrite(query.as_mut()),
        Statement::Explain(ExplainStatement { statement, .. }) => rewrite_statement(statement),
        Statement::CopyTo(_) | Statement::CreateExternalTable(_) | Statement::Reset(_) => Ok(()),
    }
}

fn rewrite(node: &mut impl VisitMut) -> Result<(), Error> {
    let mut first = Forms::default();
    if let ControlFlow::Break(error) = node.visit(&mut first) {
        return Err(*error);
    }
    if first.questions.is_empty() {
        return Ok(());
    }
    if first.numbered {
        let error = Error::new(
            ErrorCode::Invalid,
            "the statement has both ? and $n parameters",
        );
        return Err(error.with_hint("write all of them as ? or all as $1, $2, ..."));
    }
    for (number, slot) in first.questions.values_mut().enumerate() {
        *slot = number + 1;
    }
    let _: ControlFlow<()> = node.visit(&mut Numbers(first.questions));
    Ok(())
}

/// Where a value stands in the text: the visit's own order is not always that of writing.
type Place = (u64, u64);

fn place(value: &ValueWithSpan) -> Place {
    (value.span.start.line, value.span.start.column)
}

#[derive(Default)]
struct Forms {
    questions: BTreeMap<Place, usize>,
    numbered: bool,
}

impl VisitorMut for Forms {
    type Break = Box<Error>;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        if let Expr::Function(function) = expr
            && is_predict(&function.name)
            && let Err(error) = normalise(function)
        {
            return ControlFlow::Break(Box::new(error));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<Box<Error>> {
        if let Value::Placeholder(name) = &value.value {
            if name == "?" {
                self.questions.insert(place(value), 0);
            } else {
                self.numbered = true;
            }
        }
        ControlFlow::Continue(())
    }
}

struct Numbers(BTreeMap<Place, usize>);

impl VisitorMut for Numbers {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Some(number) = self.0.get(&place(value))
            && let Value::Placeholder(name) = &mut value.value
        {
            *name = format!("${number}");
        }
        ControlFlow::Continue(())
    }
}

/// Whether a function of this name is PREDICT.
pub(super) fn is_predict(name: &ObjectName) -> bool {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(only)] => only.value.eq_ignore_ascii_case(PREDICT_NAME),
        _ => false,
    }
}

fn invalid(what: &str, hint: &str) -> Error {
    Error::new(ErrorCode::Invalid, what).with_hint(hint)
}

const FORMS: &str =
    "its forms are PREDICT('alias', *), PREDICT('alias', t.*) and PREDICT('alias', a, b)";

fn normalise(function: &mut Function) -> Result<(), Error> {
    let FunctionArguments::List(list) = &function.args else {
        return Err(invalid("PREDICT has no arguments", FORMS));
    };
    let modified = function.over.is_some()
        || function.filter.is_some()
        || function.null_treatment.is_some()
        || !function.within_group.is_empty()
        || list.duplicate_treatment.is_some()
        || !list.clauses.is_empty();
    if modified {
        let hint = "it is a scalar function: write the aggregate or window around it, such as avg(PREDICT('alias', *)) OVER (...)";
        return Err(invalid(
            "PREDICT takes no DISTINCT, ORDER BY, FILTER, OVER or NULLS clause",
            hint,
        ));
    }
    match list.args.split_first() {
        None => return Err(invalid("PREDICT has no arguments", FORMS)),
        Some((alias, inputs)) => {
            check_alias(alias)?;
            check_inputs(inputs)?;
        }
    }
    function.name = ObjectName::from(vec![Ident::new(PREDICT_NAME)]);
    Ok(())
}

fn check_alias(arg: &FunctionArg) -> Result<(), Error> {
    let quote = "write the model's alias in single quotes: PREDICT('alias', *)";
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
        return Err(invalid(
            "the first argument of PREDICT is not a model's alias",
            quote,
        ));
    };
    match expr {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(_),
            ..
        }) => Ok(()),
        Expr::Value(ValueWithSpan {
            value: Value::Placeholder(_),
            ..
        }) => Err(invalid(
            "the alias of PREDICT is a parameter, and a statement is planned before its parameters are known",
            quote,
        )),
        Expr::Identifier(name) => Err(invalid(
            &format!("the first argument of PREDICT is the column {name}, not a model's alias"),
            &format!(
                "did you mean PREDICT('{}', ...)? an alias stands in single quotes",
                name.value
            ),
        )),
        other => Err(invalid(
            &format!("the alias of PREDICT is {other}, not a literal"),
            quote,
        )),
    }
}

fn check_inputs(inputs: &[FunctionArg]) -> Result<(), Error> {
    if inputs.is_empty() {
        return Err(invalid("PREDICT names no inputs", FORMS));
    }
    let mut stars = 0;
    for input in inputs {
        match input {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => {}
            FunctionArg::Unnamed(
                FunctionArgExpr::Wildcard | FunctionArgExpr::QualifiedWildcard(_),
            ) => stars += 1,
            FunctionArg::Unnamed(FunctionArgExpr::WildcardWithOptions(_)) => {
                let hint = "columns that the model does not need are left out anyway; to leave out others, select from a subquery";
                return Err(invalid(
                    "PREDICT takes no EXCLUDE, EXCEPT, REPLACE or RENAME after *",
                    hint,
                ));
            }
            FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
                return Err(invalid("PREDICT takes no named arguments", FORMS));
            }
        }
    }
    if stars > 0 && stars < inputs.len() {
        return Err(invalid("PREDICT mixes * with single columns", FORMS));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn rewritten(sql: &str) -> Result<String, String> {
        let mut statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
        rewrite_statement(&mut statement)
            .map(|()| statement.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn questions_are_numbered_as_they_are_written() {
        assert_eq!(
            rewritten("SELECT a + ?, PREDICT('m', ?, b) FROM t WHERE a > ? ORDER BY b + ? LIMIT ?"),
            Ok(
                "SELECT a + $1, predict('m', $2, b) FROM t WHERE a > $3 ORDER BY b + $4 LIMIT $5"
                    .to_owned()
            )
        );
        assert!(
            rewritten("SELECT ? + $1")
                .unwrap_err()
                .contains("both ? and $n")
        );
    }

    #[test]
    fn forms_that_cannot_be_meant_are_refused_with_the_right_one() {
        for (sql, part) in [
            (
                "SELECT PREDICT(m, *) FROM t",
                "did you mean PREDICT('m', ...)",
            ),
            (
                "SELECT PREDICT(\"m\", *) FROM t",
                "did you mean PREDICT('m', ...)",
            ),
            ("SELECT PREDICT($1, *) FROM t", "is a parameter"),
            ("SELECT PREDICT('a' || 'b', *) FROM t", "not a literal"),
            ("SELECT PREDICT(*) FROM t", "not a model's alias"),
            ("SELECT PREDICT('m') FROM t", "names no inputs"),
            ("SELECT PREDICT() FROM t", "has no arguments"),
            ("SELECT PREDICT('m', *, a) FROM t", "mixes *"),
            ("SELECT PREDICT('m', a) OVER () FROM t", "takes no DISTINCT"),
            (
                "SELECT 1 FROM t WHERE EXISTS (SELECT PREDICT(m, *) FROM u)",
                "did you mean",
            ),
            ("EXPLAIN SELECT PREDICT('m') FROM t", "names no inputs"),
            (
                "COPY (SELECT PREDICT('m') FROM t) TO 'x.csv'",
                "names no inputs",
            ),
        ] {
            let error = rewritten(sql).unwrap_err();
            assert!(error.contains(part), "{sql}: {error}");
        }
        assert_eq!(
            rewritten("select \"Predict\"('m', t.*) from t"),
            Ok("SELECT predict('m', t.*) FROM t".to_owned())
        );
    }
}

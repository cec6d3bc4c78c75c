//! A parsed query as text that means the same when it is read again. The parser's own text takes two quotes in a row for one that
//! is escaped already, so each quote of a text literal is doubled first, which it leaves alone.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, Value, ValueWithSpan, VisitMut, VisitorMut};

/// The query's text.
pub(super) fn text(query: &Query) -> String {
    let mut query = query.clone();
    let _: ControlFlow<()> = query.visit(&mut Doubled);
    query.to_string()
}

struct Doubled;

impl VisitorMut for Doubled {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::SingleQuotedString(text) = &mut value.value
            && text.contains('\'')
        {
            *text = text.replace('\'', "''");
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;
    use datafusion::sql::parser::{CopyToSource, Statement};
    use datafusion::sql::sqlparser::ast::{Expr, SetExpr, Statement as Ast};
    use whimbrel_predict::sql::rewrite_statement;

    use super::*;
    use crate::query::parameters::bind;
    use crate::session::one_statement;

    fn compared(query: &Query) -> Value {
        let SetExpr::Select(select) = query.body.as_ref() else {
            panic!("it is a SELECT");
        };
        let Some(Expr::BinaryOp { right, .. }) = &select.selection else {
            panic!("it compares with one literal: {query}");
        };
        let Expr::Value(value) = right.as_ref() else {
            panic!("it is a literal");
        };
        value.value.clone()
    }

    #[test]
    fn every_text_means_itself_when_it_is_read_again() {
        let pieces = ["'", "''", "\\", "a", " OR true --", "?", ""];
        let mut texts = vec![String::new()];
        for _ in 0..4 {
            let longer = texts
                .iter()
                .flat_map(|text| pieces.map(|piece| format!("{text}{piece}")));
            texts = longer.collect();
        }
        for wanted in texts {
            let mut copy = one_statement("COPY (SELECT a FROM t WHERE b = ?) TO '/out'").unwrap();
            rewrite_statement(&mut copy).unwrap();
            bind(&mut copy, &[ScalarValue::Utf8(Some(wanted.clone()))]).unwrap();
            let Statement::CopyTo(copy) = copy else {
                panic!("it is a COPY");
            };
            let CopyToSource::Query(query) = copy.source else {
                panic!("it is of a query");
            };
            let read = one_statement(&text(&query)).unwrap();
            let Statement::Statement(read) = read else {
                panic!("it is a query");
            };
            let Ast::Query(read) = *read else {
                panic!("it is a query");
            };
            assert_eq!(compared(&read), Value::SingleQuotedString(wanted));
        }
    }
}

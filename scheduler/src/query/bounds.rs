//! Statements that would cost more to plan than anybody can mean are refused before they are parsed.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use whimbrel_proto::{Error, ErrorCode};

/// Operators in one expression. Each is one more level of a tree that planner, codec and executors walk by recursion.
const OPERATORS: usize = 1000;

/// Checks length and depth of the text.
pub(super) fn check(sql: &str, max_bytes: usize) -> Result<(), Error> {
    if sql.len() > max_bytes {
        let text = format!(
            "the statement has {} bytes, more than {max_bytes}",
            sql.len()
        );
        return Err(Error::new(ErrorCode::Invalid, text)
            .with_hint("keep long lists in a table and join with it"));
    }
    // What is no token is the parser's to explain.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else {
        return Ok(());
    };
    if deepest(&tokens) > OPERATORS {
        let text = format!("an expression of the statement has more than {OPERATORS} operators");
        return Err(Error::new(ErrorCode::Invalid, text)
            .with_hint("use IN (...), or keep long lists in a table and join with it"));
    }
    Ok(())
}

/// The longest chain of operators, those of the enclosing parentheses included; a comma begins a new one.
fn deepest(tokens: &[Token]) -> usize {
    let mut open = vec![0_usize];
    let mut sum = 0;
    let mut deepest = 0;
    for token in tokens {
        match token {
            Token::LParen | Token::LBracket => open.push(0),
            Token::RParen | Token::RBracket => {
                sum -= if open.len() > 1 {
                    open.pop().unwrap_or(0)
                } else {
                    0
                }
            }
            Token::Comma => {
                if let Some(last) = open.last_mut() {
                    sum -= std::mem::take(last);
                }
            }
            token if is_operator(token) => {
                if let Some(last) = open.last_mut() {
                    *last += 1;
                    sum += 1;
                    deepest = deepest.max(sum);
                }
            }
            _ => {}
        }
    }
    deepest
}

fn is_operator(token: &Token) -> bool {
    const WORDS: [&str; 8] = [
        "AND",
        "OR",
        "NOT",
        "UNION",
        "INTERSECT",
        "EXCEPT",
        "JOIN",
        "WHEN",
    ];
    match token {
        Token::Word(word) => {
            word.quote_style.is_none()
                && WORDS
                    .iter()
                    .any(|known| word.value.eq_ignore_ascii_case(known))
        }
        Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::StringConcat => {
            true
        }
        Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => true,
        Token::Ampersand
        | Token::Pipe
        | Token::Caret
        | Token::ShiftLeft
        | Token::ShiftRight
        | Token::DoubleColon => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_bounded_and_lists_are_not() {
        let chain = format!("SELECT 1{}", " + 1".repeat(OPERATORS + 1));
        assert_eq!(
            check(&chain, usize::MAX).unwrap_err().code(),
            ErrorCode::Invalid
        );
        let nested = format!(
            "SELECT {}{}",
            "(1 + ".repeat(OPERATORS + 1),
            "1)".repeat(OPERATORS + 1)
        );
        assert!(check(&nested, usize::MAX).is_err());
        let list = format!(
            "SELECT * FROM t WHERE a IN (0{}) AND b = 1",
            ", -1".repeat(10 * OPERATORS)
        );
        assert_eq!(check(&list, usize::MAX), Ok(()));
        let rows = format!("VALUES (1 + 1){}", ", (2 * -2)".repeat(10 * OPERATORS));
        assert_eq!(check(&rows, usize::MAX), Ok(()));
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_unread() {
        assert!(
            check("SELECT 1", 4)
                .unwrap_err()
                .message()
                .contains("8 bytes")
        );
    }
}

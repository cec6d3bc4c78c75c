//! The statements about models, which the engine's parser does not know: read token by token, so that what is wrong is said
//! in the words of the statement.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use whimbrel_proto::{Error, ErrorCode};

const CREATE: &str = "CREATE [OR REPLACE] MODEL [IF NOT EXISTS] alias FROM 'uri' [RETURNS type] [OPTIONS (key 'value', ...)]";
const DROP: &str = "DROP MODEL [IF EXISTS] alias";
const SHOW: &str = "SHOW MODELS";
const DESCRIBE: &str = "DESCRIBE MODEL alias";
const CHECK: &str = "CHECK MODEL alias ON table [SAMPLE rows]";

/// What CREATE MODEL does where the alias is bound already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfBound {
    Refuse,
    Replace,
    Keep,
}

/// A statement about models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelStatement {
    Create(CreateModel),
    Drop {
        alias: String,
        if_exists: bool,
    },
    Show,
    Describe {
        alias: String,
    },
    Check {
        alias: String,
        /// As it is written in FROM.
        table: String,
        sample: Option<usize>,
    },
}

/// CREATE MODEL, with its texts as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreateModel {
    pub(crate) alias: String,
    pub(crate) uri: String,
    /// Empty where it is not said.
    pub(crate) returns: String,
    pub(crate) options: Vec<(String, String)>,
    pub(crate) if_bound: IfBound,
}

/// The statement, if it is one about models.
pub(crate) fn parse(sql: &str) -> Option<Result<ModelStatement, Error>> {
    let mut tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().ok()?;
    while matches!(
        tokens.last(),
        Some(Token::Whitespace(_) | Token::SemiColon | Token::EOF)
    ) {
        tokens.pop();
    }
    let mut reader = Reader { rest: &tokens };
    let read: fn(&mut Reader<'_>) -> Result<ModelStatement, Error> = match () {
        () if reader.words(&["CREATE", "MODEL"]) => |reader| create(reader, false),
        () if reader.words(&["CREATE", "OR", "REPLACE", "MODEL"]) => |reader| create(reader, true),
        () if reader.words(&["DROP", "MODEL"]) => drop_model,
        () if reader.words(&["SHOW", "MODELS"]) => |reader| {
            reader.end(SHOW)?;
            Ok(ModelStatement::Show)
        },
        () if reader.words(&["CHECK", "MODEL"]) => check,
        // A table may be called model.
        () if reader.words(&["DESCRIBE", "MODEL"]) || reader.words(&["DESC", "MODEL"]) => {
            reader.peek()?;
            describe
        }
        () => return None,
    };
    Some(read(&mut reader))
}

fn create(reader: &mut Reader<'_>, or_replace: bool) -> Result<ModelStatement, Error> {
    let keep = reader.words(&["IF", "NOT", "EXISTS"]);
    let if_bound = match (or_replace, keep) {
        (true, true) => {
            return Err(wrong(
                "OR REPLACE and IF NOT EXISTS exclude each other",
                CREATE,
            ));
        }
        (true, false) => IfBound::Replace,
        (false, true) => IfBound::Keep,
        (false, false) => IfBound::Refuse,
    };
    let alias = reader.alias(CREATE)?;
    if !reader.words(&["FROM"]) {
        return Err(reader.expected("FROM", CREATE));
    }
    let uri = reader.location(CREATE)?;
    let (mut returns, mut options) = (None, None);
    loop {
        if returns.is_none() && reader.words(&["RETURNS"]) {
            returns = Some(reader.type_text(CREATE)?);
        } else if options.is_none() && reader.words(&["OPTIONS"]) {
            options = Some(reader.options(CREATE)?);
        } else {
            break;
        }
    }
    if reader.peek().is_some() {
        let missing = match (&returns, &options) {
            (None, None) => "RETURNS, OPTIONS or the end",
            (None, Some(_)) => "RETURNS or the end",
            (Some(_), None) => "OPTIONS or the end",
            (Some(_), Some(_)) => "the end",
        };
        return Err(reader.expected(missing, CREATE));
    }
    Ok(ModelStatement::Create(CreateModel {
        alias,
        uri,
        returns: returns.unwrap_or_default(),
        options: options.unwrap_or_default(),
        if_bound,
    }))
}

fn drop_model(reader: &mut Reader<'_>) -> Result<ModelStatement, Error> {
    let if_exists = reader.words(&["IF", "EXISTS"]);
    let alias = reader.alias(DROP)?;
    reader.end(DROP)?;
    Ok(ModelStatement::Drop { alias, if_exists })
}

fn describe(reader: &mut Reader<'_>) -> Result<ModelStatement, Error> {
    let alias = reader.alias(DESCRIBE)?;
    reader.end(DESCRIBE)?;
    Ok(ModelStatement::Describe { alias })
}

fn check(reader: &mut Reader<'_>) -> Result<ModelStatement, Error> {
    let alias = reader.alias(CHECK)?;
    if !reader.words(&["ON"]) {
        return Err(reader.expected("ON", CHECK));
    }
    let table = reader.table(CHECK)?;
    let mut sample = None;
    if reader.words(&["SAMPLE"]) {
        let count = match reader.next() {
            Some(Token::Number(text, _)) => text.parse().ok(),
            _ => None,
        };
        sample = match count {
            Some(0) | None => return Err(wrong("SAMPLE takes a number of rows, 1 or more", CHECK)),
            some => some,
        };
        reader.words(&["ROWS"]);
    }
    reader.end(CHECK)?;
    Ok(ModelStatement::Check {
        alias,
        table,
        sample,
    })
}

fn wrong(what: &str, form: &str) -> Error {
    Error::new(ErrorCode::Invalid, format!("{}: {what}", verb(form)))
        .with_hint(format!("write {form}"))
}

/// The statement's name, out of its form.
fn verb(form: &str) -> &'static str {
    match form {
        CREATE => "CREATE MODEL",
        DROP => "DROP MODEL",
        SHOW => "SHOW MODELS",
        DESCRIBE => "DESCRIBE MODEL",
        _ => "CHECK MODEL",
    }
}

/// The tokens that are left.
struct Reader<'a> {
    rest: &'a [Token],
}

impl<'a> Reader<'a> {
    fn skip_blanks(&mut self) {
        while let [Token::Whitespace(_), rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn peek(&mut self) -> Option<&'a Token> {
        self.skip_blanks();
        self.rest.first()
    }

    fn next(&mut self) -> Option<&'a Token> {
        self.skip_blanks();
        let (token, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(token)
    }

    /// Takes these words if they are next.
    fn words(&mut self, words: &[&str]) -> bool {
        let begin = self.rest;
        for word in words {
            let found = matches!(self.next(), Some(Token::Word(next)) if next.quote_style.is_none() && next.value.eq_ignore_ascii_case(word));
            if !found {
                self.rest = begin;
                return false;
            }
        }
        true
    }

    fn expected(&mut self, what: &str, form: &str) -> Error {
        let found = match self.peek() {
            Some(token) => format!("'{token}'"),
            None => "the end".to_owned(),
        };
        wrong(&format!("expected {what}, found {found}"), form)
    }

    fn end(&mut self, form: &str) -> Result<(), Error> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end", form)),
        }
    }

    /// Aliases are kept as they are written, with quotes or without: PREDICT('alias') finds them so.
    fn alias(&mut self, form: &str) -> Result<String, Error> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next();
                Ok(word.value.clone())
            }
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => {
                self.next();
                Ok(text.clone())
            }
            _ => Err(self.expected("the model's alias", form)),
        }
    }

    fn text(&mut self, what: &str, form: &str) -> Result<String, Error> {
        match self.peek() {
            Some(Token::SingleQuotedString(text)) => {
                self.next();
                Ok(text.clone())
            }
            _ => Err(self.expected(what, form)),
        }
    }

    /// A text, or a query in parentheses whose one value is the model.
    fn location(&mut self, form: &str) -> Result<String, Error> {
        if self.peek() != Some(&Token::LParen) {
            return self.text("the model's location in single quotes", form);
        }
        let (mut depth, mut sql) = (0_usize, String::new());
        while let [token, rest @ ..] = self.rest {
            self.rest = rest;
            match token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 1 => return Ok(format!("sql:{}", sql[1..].trim())),
                Token::RParen => depth -= 1,
                _ => {}
            }
            match token {
                Token::SingleQuotedString(text) => {
                    sql.push_str(&format!("'{}'", text.replace('\'', "''")));
                }
                token => sql.push_str(&token.to_string()),
            }
        }
        Err(self.expected("the ')' that ends the query", form))
    }

    /// Everything up to OPTIONS, as it is written: types are understood elsewhere.
    fn type_text(&mut self, form: &str) -> Result<String, Error> {
        let mut text = String::new();
        let mut depth = 0_i32;
        while let Some(token) = self.rest.first() {
            let begins_options = matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("OPTIONS"));
            if depth <= 0 && begins_options && !text.trim().is_empty() {
                break;
            }
            depth += match token {
                Token::LParen | Token::Lt => 1,
                Token::RParen | Token::Gt => -1,
                Token::ShiftRight => -2,
                _ => 0,
            };
            text.push_str(&token.to_string());
            self.rest = &self.rest[1..];
        }
        if text.trim().is_empty() {
            return Err(self.expected("a type after RETURNS", form));
        }
        Ok(text.trim().to_owned())
    }

    fn options(&mut self, form: &str) -> Result<Vec<(String, String)>, Error> {
        if self.next() != Some(&Token::LParen) {
            return Err(wrong("OPTIONS takes (key 'value', ...)", form));
        }
        let mut options = Vec::new();
        if self.peek() == Some(&Token::RParen) {
            self.next();
            return Ok(options);
        }
        loop {
            let key = self.option_key(form)?;
            if self.peek() == Some(&Token::Eq) {
                self.next();
            }
            let value = self.option_value(&key, form)?;
            options.push((key, value));
            match self.peek() {
                Some(Token::Comma) => drop(self.next()),
                Some(Token::RParen) => {
                    self.next();
                    return Ok(options);
                }
                _ => return Err(self.expected(", or ) in OPTIONS", form)),
            }
        }
    }

    /// A word, words with dots between them, or a text.
    fn option_key(&mut self, form: &str) -> Result<String, Error> {
        let mut key = self.key_part(form)?;
        while self.peek() == Some(&Token::Period) {
            self.next();
            key.push('.');
            key.push_str(&self.key_part(form)?);
        }
        Ok(key)
    }

    fn key_part(&mut self, form: &str) -> Result<String, Error> {
        match self.peek() {
            Some(Token::Word(_) | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_)) => {
                self.alias(form)
            }
            _ => Err(self.expected("an option's name", form)),
        }
    }

    fn option_value(&mut self, key: &str, form: &str) -> Result<String, Error> {
        let minus = self.peek() == Some(&Token::Minus);
        if minus {
            self.next();
        }
        let sign = if minus { "-" } else { "" };
        match self.peek() {
            Some(Token::SingleQuotedString(text)) if !minus => {
                self.next();
                Ok(text.clone())
            }
            Some(Token::Word(word)) if !minus && word.quote_style.is_none() => {
                self.next();
                Ok(word.value.clone())
            }
            Some(Token::Number(number, _)) => {
                self.next();
                Ok(format!("{sign}{number}"))
            }
            _ => Err(self.expected(
                &format!("the value of option '{key}' in single quotes"),
                form,
            )),
        }
    }

    /// A table's name, as it is written.
    fn table(&mut self, form: &str) -> Result<String, Error> {
        let mut name = String::new();
        loop {
            match self.peek() {
                Some(token @ Token::Word(_)) => name.push_str(&token.to_string()),
                _ => return Err(self.expected("a table's name", form)),
            }
            self.next();
            if self.peek() != Some(&Token::Period) {
                return Ok(name);
            }
            self.next();
            name.push('.');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> ModelStatement {
        parse(sql).unwrap().unwrap()
    }

    fn created(sql: &str) -> CreateModel {
        match read(sql) {
            ModelStatement::Create(create) => create,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn create_is_read_with_its_texts_as_they_are() {
        let create = created(
            "create or replace model \"Tip-2\" from 's3://b/it''s.onnx'\n returns Struct<label:bigint, p: array<array<float>>>\n\
             options (output 'p', by_position = true, default.age -1.5, 'default.trip distance' '0', map.a 'zone name',);"
                .replace(",);", ");")
                .as_str(),
        );
        assert_eq!(create.alias, "Tip-2");
        assert_eq!(create.uri, "s3://b/it's.onnx");
        assert_eq!(
            create.returns,
            "Struct<label:bigint, p: array<array<float>>>"
        );
        let options: Vec<(&str, &str)> = create
            .options
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            options,
            [
                ("output", "p"),
                ("by_position", "true"),
                ("default.age", "-1.5"),
                ("default.trip distance", "0"),
                ("map.a", "zone name")
            ]
        );
        assert_eq!(create.if_bound, IfBound::Replace);
        let query = created(
            "CREATE MODEL t FROM (SELECT max(model) FROM m WHERE name = 'it''s') RETURNS float",
        );
        assert_eq!(
            (query.uri.as_str(), query.returns.as_str()),
            ("sql:SELECT max(model) FROM m WHERE name = 'it''s'", "float")
        );
        let plain = created("CREATE MODEL tip FROM 'm.onnx'");
        assert_eq!(
            (plain.returns.as_str(), plain.if_bound),
            ("", IfBound::Refuse)
        );
        assert_eq!(
            created("CREATE MODEL IF NOT EXISTS t FROM 'x' OPTIONS () RETURNS (score real, label nvarchar(10))").returns,
            "(score real, label nvarchar(10))"
        );
        assert_eq!(
            created("CREATE MODEL t FROM 'x' RETURNS struct<options:int> OPTIONS (a 'b')").returns,
            "struct<options:int>"
        );
    }

    #[test]
    fn the_other_statements_are_read() {
        let alias = || "tip".to_owned();
        assert_eq!(
            read("drop model tip"),
            ModelStatement::Drop {
                alias: alias(),
                if_exists: false
            }
        );
        assert_eq!(
            read("DROP MODEL IF EXISTS 'tip' ;"),
            ModelStatement::Drop {
                alias: alias(),
                if_exists: true
            }
        );
        assert_eq!(read(" show\n models;"), ModelStatement::Show);
        assert_eq!(
            read("DESC MODEL tip"),
            ModelStatement::Describe { alias: alias() }
        );
        let check = |table: &str, sample| ModelStatement::Check {
            alias: alias(),
            table: table.to_owned(),
            sample,
        };
        assert_eq!(read("CHECK MODEL tip ON trips"), check("trips", None));
        assert_eq!(
            read("check model tip on public.\"My Trips\" sample 500 rows"),
            check("public.\"My Trips\"", Some(500))
        );
        assert_eq!(
            read("-- why\nCHECK MODEL tip ON trips"),
            check("trips", None)
        );
    }

    #[test]
    fn other_statements_are_left_to_the_engine() {
        for sql in [
            "SELECT 1",
            "DESCRIBE model",
            "DROP TABLE model",
            "CREATE VIEW model AS SELECT 1",
            "SHOW TABLES",
            "",
            "'",
            "CREATE \"MODEL\" x",
        ] {
            assert_eq!(parse(sql), None, "{sql}");
        }
    }

    #[test]
    fn a_wrong_statement_says_what_was_expected_and_the_whole_form() {
        let form = "CREATE [OR REPLACE] MODEL [IF NOT EXISTS] alias FROM 'uri' [RETURNS type] [OPTIONS (key 'value', ...)]";
        let cases = [
            ("CREATE MODEL", format!("CREATE MODEL: expected the model's alias, found the end; write {form}")),
            ("CREATE MODEL tip", format!("CREATE MODEL: expected FROM, found the end; write {form}")),
            ("CREATE MODEL tip USING 'x'", format!("CREATE MODEL: expected FROM, found 'USING'; write {form}")),
            ("CREATE MODEL tip FROM m.onnx", format!("CREATE MODEL: expected the model's location in single quotes, found 'm'; write {form}")),
            ("CREATE MODEL tip FROM \"m\"", format!("CREATE MODEL: expected the model's location in single quotes, found '\"m\"'; write {form}")),
            ("CREATE MODEL tip FROM 'm' RETURNS", format!("CREATE MODEL: expected a type after RETURNS, found the end; write {form}")),
            ("CREATE MODEL tip FROM 'm' RETURN int", format!("CREATE MODEL: expected RETURNS, OPTIONS or the end, found 'RETURN'; write {form}")),
            ("CREATE MODEL tip FROM 'm' OPTIONS a 'b'", format!("CREATE MODEL: OPTIONS takes (key 'value', ...); write {form}")),
            ("CREATE MODEL tip FROM 'm' OPTIONS (a", format!("CREATE MODEL: expected the value of option 'a' in single quotes, found the end; write {form}")),
            ("CREATE MODEL tip FROM 'm' OPTIONS (a 'b' c 'd')", format!("CREATE MODEL: expected , or ) in OPTIONS, found 'c'; write {form}")),
            ("CREATE MODEL tip FROM 'm' OPTIONS (a 'b',)", format!("CREATE MODEL: expected an option's name, found ')'; write {form}")),
            ("CREATE MODEL tip FROM 'm' OPTIONS (a 'b') x", format!("CREATE MODEL: expected RETURNS or the end, found 'x'; write {form}")),
            ("CREATE OR REPLACE MODEL IF NOT EXISTS tip FROM 'm'", format!("CREATE MODEL: OR REPLACE and IF NOT EXISTS exclude each other; write {form}")),
            ("DROP MODEL", "DROP MODEL: expected the model's alias, found the end; write DROP MODEL [IF EXISTS] alias".to_owned()),
            ("DROP MODEL a b", "DROP MODEL: expected the end, found 'b'; write DROP MODEL [IF EXISTS] alias".to_owned()),
            ("SHOW MODELS LIKE 'x'", "SHOW MODELS: expected the end, found 'LIKE'; write SHOW MODELS".to_owned()),
            ("DESCRIBE MODEL a.b", "DESCRIBE MODEL: expected the end, found '.'; write DESCRIBE MODEL alias".to_owned()),
            ("CHECK MODEL tip", "CHECK MODEL: expected ON, found the end; write CHECK MODEL alias ON table [SAMPLE rows]".to_owned()),
            ("CHECK MODEL tip ON (SELECT 1)", "CHECK MODEL: expected a table's name, found '('; write CHECK MODEL alias ON table [SAMPLE rows]".to_owned()),
            ("CHECK MODEL tip ON t SAMPLE 0", "CHECK MODEL: SAMPLE takes a number of rows, 1 or more; write CHECK MODEL alias ON table [SAMPLE rows]".to_owned()),
            ("CHECK MODEL tip ON t SAMPLE ten", "CHECK MODEL: SAMPLE takes a number of rows, 1 or more; write CHECK MODEL alias ON table [SAMPLE rows]".to_owned()),
        ];
        for (sql, want) in cases {
            assert_eq!(parse(sql).unwrap().unwrap_err().to_string(), want, "{sql}");
        }
    }
}

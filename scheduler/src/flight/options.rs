//! Session options: the settings that SET knows, under Flight's own actions, and the session's end.

use std::collections::HashMap;

use prost::Message;
use whimbrel_proto::v1::session_option_value::OptionValue;
use whimbrel_proto::v1::set_session_options_result::{Error as OptionError, ErrorValue};
use whimbrel_proto::v1::{
    CloseSessionResult, GetSessionOptionsResult, SessionOptionValue, SetSessionOptionsRequest,
    SetSessionOptionsResult, close_session_result,
};
use whimbrel_proto::{Error, ErrorCode};

use crate::engine::{CATALOG, SCHEMA, may_set, session_config};
use crate::pool::Pool;
use crate::query::{Effect, setting};
use crate::session::Session;

/// The names that clients of every kind know; a pool has one of each.
const FIXED: [(&str, &str); 2] = [("catalog", CATALOG), ("schema", SCHEMA)];

/// Sets each option by itself and says of which it could not.
pub(super) fn set(session: &Session, body: &[u8]) -> Result<Vec<u8>, Error> {
    let SetSessionOptionsRequest { session_options } = SetSessionOptionsRequest::decode(body)
        .map_err(|error| {
            Error::new(
                ErrorCode::Invalid,
                format!("the session options cannot be read: {error}"),
            )
        })?;
    let mut errors = HashMap::new();
    for (key, value) in session_options {
        if let Err(why) = set_one(session, &key, value) {
            let value = why.into();
            errors.insert(key, OptionError { value });
        }
    }
    Ok(SetSessionOptionsResult { errors }.encode_to_vec())
}

fn set_one(session: &Session, key: &str, value: SessionOptionValue) -> Result<(), ErrorValue> {
    let value = value.option_value.map(shown).transpose()?;
    let value = value.filter(|text| !text.is_empty());
    if let Some((_, only)) = FIXED.iter().find(|(name, _)| *name == key) {
        return match value {
            Some(asked) if asked != *only => Err(ErrorValue::InvalidValue),
            Some(_) | None => Ok(()),
        };
    }
    if setting(key, None).is_err() {
        return Err(ErrorValue::InvalidName);
    }
    match setting(key, value.as_deref()) {
        Ok(Effect::Set { key, value }) => session.set(key, value),
        Ok(Effect::Reset { key }) => session.reset(&key),
        Ok(_) | Err(_) => return Err(ErrorValue::InvalidValue),
    }
    Ok(())
}

fn shown(value: OptionValue) -> Result<String, ErrorValue> {
    match value {
        OptionValue::StringValue(text) => Ok(text),
        OptionValue::BoolValue(truth) => Ok(truth.to_string()),
        OptionValue::Int64Value(number) => Ok(number.to_string()),
        OptionValue::DoubleValue(number) => Ok(number.to_string()),
        OptionValue::StringListValue(_) => Err(ErrorValue::InvalidValue),
    }
}

/// All options with the values that hold.
pub(super) fn get(session: &Session, max_message_bytes: usize) -> Vec<u8> {
    let fixed = FIXED.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = session_config(max_message_bytes);
    let known = config.options().entries().into_iter();
    let known = known.filter(|entry| may_set(&entry.key));
    let known = known.map(|entry| (entry.key, entry.value.unwrap_or_default()));
    // What is set comes last, and counts.
    let all = known.chain(session.settings()).chain(fixed);
    let text = |value| SessionOptionValue {
        option_value: Some(OptionValue::StringValue(value)),
    };
    let session_options = all.map(|(key, value)| (key, text(value))).collect();
    GetSessionOptionsResult { session_options }.encode_to_vec()
}

/// Ends a session: what it set and prepared, its views, its queries and their rows.
pub(super) fn close(pool: &Pool, session: &str) -> Vec<u8> {
    pool.sessions.close(session);
    for query in pool.queries.of_session(session) {
        pool.runner.cancel(&query);
    }
    let status = close_session_result::Status::Closed.into();
    CloseSessionResult { status }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(key: &str, value: Option<OptionValue>) -> Vec<u8> {
        let value = SessionOptionValue {
            option_value: value,
        };
        let session_options = HashMap::from([(key.to_owned(), value)]);
        SetSessionOptionsRequest { session_options }.encode_to_vec()
    }

    #[test]
    fn an_option_is_set_read_and_put_back_and_a_wrong_one_is_named() {
        let session = Session::alone("s");
        let key = "datafusion.execution.batch_size";
        let outcome = |body: Vec<u8>| {
            let answer = set(&session, &body).unwrap();
            SetSessionOptionsResult::decode(answer.as_slice())
                .unwrap()
                .errors
        };
        assert!(outcome(asked(key, Some(OptionValue::Int64Value(100)))).is_empty());
        assert_eq!(session.settings()[key], "100");
        let all = GetSessionOptionsResult::decode(get(&session, 1 << 26).as_slice()).unwrap();
        let text = |value: &str| OptionValue::StringValue(value.to_owned());
        let told = |key: &str| all.session_options[key].option_value.clone();
        assert_eq!(told(key), Some(text("100")));
        assert_eq!(told("catalog"), Some(text(CATALOG)));
        assert!(told("datafusion.execution.time_zone").is_some());
        assert!(outcome(asked(key, None)).is_empty());
        assert!(session.settings().is_empty());

        let wrong = |key: &str, text: &str| {
            let text = Some(OptionValue::StringValue(text.to_owned()));
            outcome(asked(key, text))
                .remove(key)
                .map(|error| error.value())
        };
        assert_eq!(wrong(key, "many"), Some(ErrorValue::InvalidValue));
        assert_eq!(wrong("ballista.x", "1"), Some(ErrorValue::InvalidName));
        assert_eq!(wrong("catalog", "other"), Some(ErrorValue::InvalidValue));
        assert_eq!(wrong("catalog", CATALOG), None);
    }
}

//! Rows that cannot be scored are found, and no others are lost with them.

use std::sync::Mutex;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};

use super::tests::{context, input, ints, predict, values};
use super::*;
use crate::error::find;
use crate::runtime::{Feed, Model, ModelHost};
use crate::testing::sum;

/// Refuses feeds that hold a negative number.
#[derive(Debug)]
struct Fussy {
    asked: Arc<Mutex<Vec<usize>>>,
    code: ErrorCode,
}

#[async_trait]
impl ModelHost for Fussy {
    async fn open(&self, _binding: &Binding) -> std::result::Result<Arc<dyn Model>, Error> {
        let asked = Arc::clone(&self.asked);
        let code = self.code;
        Ok(Arc::new(Self { asked, code }))
    }
}

impl Model for Fussy {
    fn score(&self, feed: Feed) -> BoxFuture<'static, std::result::Result<ArrayRef, Error>> {
        self.asked.lock().unwrap().push(feed.rows);
        let numbers = feed.columns[0].as_primitive::<Int64Type>();
        let answer = match numbers.values().iter().any(|number| *number < 0) {
            true => Err(Error::new(self.code, "a negative number")),
            false => sum(&feed, &DataType::Float32),
        };
        futures::future::ready(answer).boxed()
    }

    fn batch_rows(&self) -> usize {
        1024
    }

    fn feeds_ahead(&self) -> usize {
        1
    }
}

#[tokio::test]
async fn a_batch_that_fails_is_halved_until_the_row_is_known() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let host = |code| Fussy {
        asked: Arc::clone(&asked),
        code,
    };
    let exec = |errors| {
        let rows = (0..1000).map(|row| match row {
            300 => None,
            700 => Some(-1),
            _ => Some(row),
        });
        let exec = predict(input(vec![ints(rows)]), None);
        exec.catching(errors).unwrap()
    };
    let caught = exec(RowErrors::Told("why".to_owned()));
    let batches: Vec<RecordBatch> = caught
        .execute(0, context(host(ErrorCode::Model)))
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let found = values(&batches);
    assert_eq!(found.len(), 1000);
    assert_eq!(found.iter().filter(|value| value.is_none()).count(), 2);
    assert_eq!(
        (found[699], found[700], found[701]),
        (Some(699.0), None, Some(701.0))
    );
    let whys = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    let whys = whys.column_by_name("why").unwrap().as_string::<i32>();
    assert_eq!(whys.len() - whys.null_count(), 2);
    assert_eq!(
        whys.value(300),
        r#"{"row":{"x":null},"position":301,"model":"fare","column":"x","code":"invalid","reason":"PREDICT('fare'): input 'x' (int64) got a NULL"}"#
    );
    assert_eq!(
        whys.value(700),
        r#"{"row":{"x":-1},"position":701,"model":"fare","column":null,"code":"model","reason":"a negative number"}"#
    );
    let feeds = asked.lock().unwrap().len();
    assert!(
        (3..=25).contains(&feeds),
        "{feeds} feeds for one row of a thousand"
    );

    let nulled = exec(RowErrors::Null);
    assert_eq!(nulled.schema(), exec(RowErrors::Fail).schema());
    let batches = nulled.execute(0, context(host(ErrorCode::Data))).unwrap();
    let found = values(&batches.try_collect::<Vec<_>>().await.unwrap());
    assert_eq!((found[300], found[700]), (None, None));
    // What is no row's fault is looked for in no row.
    asked.lock().unwrap().clear();
    let nulled = exec(RowErrors::Null);
    let batches = nulled
        .execute(0, context(host(ErrorCode::Unavailable)))
        .unwrap();
    let error = batches.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(find(&error).unwrap().code(), ErrorCode::Unavailable);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

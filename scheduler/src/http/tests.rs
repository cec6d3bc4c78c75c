//! What passes is tried again, what does not is not, and nothing is read without a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpSocket;

use super::testing::Served;
use super::{Http, Trouble};
use crate::clock::{SystemClock, SystemIds};

fn http() -> Http {
    Http::new(SystemClock::shared(), Arc::new(SystemIds)).unwrap()
}

/// A server that answers `first` so many times, and then `then`.
async fn changing(first: u16, times: usize, then: u16) -> Served {
    let count = Arc::new(AtomicUsize::new(0));
    Served::start(move |_| {
        let status = if count.fetch_add(1, Ordering::Relaxed) < times {
            first
        } else {
            then
        };
        (status, b"body".to_vec())
    })
    .await
}

#[tokio::test]
async fn what_passes_is_tried_again_and_a_refusal_is_not() {
    for (first, times, want, calls) in [
        (503, 2, 200, 3),
        (429, 1, 200, 2),
        (500, 99, 500, 4),
        (403, 99, 403, 1),
        (404, 99, 404, 1),
    ] {
        let served = changing(first, times, 200).await;
        let http = http();
        let answer = http.send(http.get(&served.url()), 100).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), served.asked().len()),
            (want, calls),
            "{first}"
        );
    }
}

#[tokio::test]
async fn an_answer_has_a_bound_and_a_closed_port_a_reason() {
    let served = changing(200, 9, 200).await;
    let http = http();
    let answer = http.send(http.get(&served.url()), 3).await;
    assert_eq!(answer.unwrap_err(), Trouble::TooLarge(3));
    // Bound and never listened on: nobody else can answer there.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = format!("http://{}/", held.local_addr().unwrap());
    let Trouble::Unreachable(why) = http.send(http.get(&closed), 3).await.unwrap_err() else {
        panic!("a closed port answered");
    };
    assert!(!why.is_empty() && !why.contains("http://"), "{why}");
}

//! A proxy before an object store that does what networks and overloaded stores do: it answers 503, resets connections, some
//! in the middle of a body, is slow, goes away, falls silent, cuts connections that nobody reads, and answers otherwise than the
//! store did. It counts what it does, so that a fault test can prove that its fault struck.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const BUSY: &[u8] = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 88\r\nConnection: close\r\n\r\n<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Slow down.</Message></Error>\r\n";

const CONFLICT: &[u8] = b"HTTP/1.1 409 Conflict\r\nContent-Type: application/xml\r\nContent-Length: 102\r\nConnection: close\r\n\r\n<?xml version=\"1.0\"?><Error><Code>ConditionalRequestConflict</Code><Message>Again.</Message></Error>\r\n";

/// What befalls requests from now on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Of a hundred requests so many are answered 503.
    pub busy: u64,
    /// Of a hundred requests so many lose their connection, half of them in the body.
    pub reset: u64,
    /// Every request is passed on so much later.
    pub delay: Duration,
    /// Every connection is reset.
    pub away: bool,
    /// A connection whose reader takes nothing for so long is cut.
    pub idle: Option<Duration>,
    /// Requests are taken, and never answered.
    pub silent: bool,
    /// Of a hundred writes so many are done, and answered 503 all the same.
    pub lost: u64,
    /// Of a hundred creations of what must not be there yet so many are answered 409, and not done.
    pub conflict: u64,
}

/// How often each has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Struck {
    pub requests: u64,
    pub busy: u64,
    pub reset: u64,
    pub in_body: u64,
    pub delayed: u64,
    pub away: u64,
    pub cut: u64,
    pub silent: u64,
    pub lost: u64,
    pub conflict: u64,
}

struct Shared {
    upstream: u16,
    weather: Mutex<Weather>,
    struck: Mutex<Struck>,
    dice: AtomicU64,
}

/// The proxy; it ends when this is dropped.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    accepts: JoinHandle<()>,
}

impl Proxy {
    /// Before the server on `upstream` of this machine. The same `seed` rolls the same dice.
    pub async fn start(upstream: u16, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            upstream,
            weather: Mutex::default(),
            struck: Mutex::default(),
            dice: AtomicU64::new(seed),
        });
        let serving = Arc::clone(&shared);
        let accepts = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                // A connection that breaks is what this is for.
                tokio::spawn(async move { shared.serve(client).await.ok() });
            }
        });
        Ok(Self {
            port,
            shared,
            accepts,
        })
    }

    /// Changes what befalls requests; the counts begin anew.
    pub fn set(&self, weather: Weather) {
        *lock(&self.shared.weather) = weather;
        *lock(&self.shared.struck) = Struck::default();
    }

    pub fn struck(&self) -> Struck {
        *lock(&self.shared.struck)
    }

    /// Puts the proxy before the server that `variables` lead to.
    pub fn redirect(&self, variables: &mut [(String, String)]) -> Result<()> {
        let (from, to) = (
            format!("//127.0.0.1:{}", self.shared.upstream),
            format!("//127.0.0.1:{}", self.port),
        );
        let found = variables
            .iter_mut()
            .find(|(_, value)| value.contains(&from))
            .context("no variable names the server")?;
        found.1 = found.1.replace(&from, &to);
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn weather(&self) -> Weather {
        *lock(&self.weather)
    }

    fn count(&self, what: impl FnOnce(&mut Struck)) {
        what(&mut lock(&self.struck));
    }

    /// A number below `bound`.
    fn roll(&self, bound: u64) -> u64 {
        let next = |dice: u64| {
            Some(
                dice.wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407),
            )
        };
        let dice = self
            .dice
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        (dice.unwrap_or_else(|dice| dice) >> 33) % bound.max(1)
    }

    /// One request of a connection; the next one comes on another.
    async fn serve(&self, mut client: TcpStream) -> Result<()> {
        let weather = self.weather();
        if weather.away {
            self.count(|struck| struck.away += 1);
            return reset(&client);
        }
        let mut request = head(&mut client).await?;
        let mut body = vec![0; usize::try_from(length(&request))?];
        client.read_exact(&mut body).await?;
        self.count(|struck| struck.requests += 1);
        if weather.silent {
            self.count(|struck| struck.silent += 1);
            return std::future::pending().await;
        }
        if let Some(answer) = self.refused(&weather, &request) {
            client.write_all(answer).await?;
            return Ok(client.shutdown().await?);
        }
        if weather.delay > Duration::ZERO {
            self.count(|struck| struck.delayed += 1);
            pause(weather.delay).await;
        }
        let resets = self.roll(100) < weather.reset;
        if resets && self.roll(2) == 0 {
            self.count(|struck| struck.reset += 1);
            return reset(&client);
        }
        let end = request.len() - 2;
        request.splice(end..end, *b"Connection: close\r\n");
        let mut server = TcpStream::connect(("127.0.0.1", self.upstream)).await?;
        server.write_all(&request).await?;
        server.write_all(&body).await?;
        if weather.lost > 0 && writes(&request) && self.roll(100) < weather.lost {
            return self.lose(server, client).await;
        }
        let answer = head(&mut server).await?;
        client.write_all(&answer).await?;
        let cut = resets.then(|| self.roll(length(&answer)));
        self.pass_body(server, client, cut).await
    }

    /// What is answered in the server's stead.
    fn refused(&self, weather: &Weather, request: &[u8]) -> Option<&'static [u8]> {
        if self.roll(100) < weather.busy {
            self.count(|struck| struck.busy += 1);
            return Some(BUSY);
        }
        if weather.conflict > 0 && creates(request) && self.roll(100) < weather.conflict {
            self.count(|struck| struck.conflict += 1);
            return Some(CONFLICT);
        }
        None
    }

    /// Waits until the server has done what it was asked, and says that it was too busy to.
    async fn lose(&self, mut server: TcpStream, mut client: TcpStream) -> Result<()> {
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        if !answer.starts_with(b"HTTP/1.1 2") {
            client.write_all(&answer).await?;
            return Ok(client.shutdown().await?);
        }
        self.count(|struck| struck.lost += 1);
        client.write_all(BUSY).await?;
        Ok(client.shutdown().await?)
    }

    /// Passes the body on, up to the byte where the connection is to break.
    async fn pass_body(
        &self,
        mut server: TcpStream,
        mut client: TcpStream,
        cut: Option<u64>,
    ) -> Result<()> {
        let mut left = cut.unwrap_or(u64::MAX);
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = server.read(&mut buffer).await?;
            let weather = self.weather();
            if weather.away {
                self.count(|struck| struck.away += 1);
                return reset(&client);
            }
            let passed = usize::try_from(left).unwrap_or(usize::MAX).min(read);
            let written = client.write_all(&buffer[..passed]);
            match weather.idle {
                None => written.await?,
                Some(idle) => match tokio::time::timeout(idle, written).await {
                    Ok(written) => written?,
                    Err(_) => {
                        self.count(|struck| struck.cut += 1);
                        return reset(&client);
                    }
                },
            }
            left -= passed as u64;
            if cut.is_some() && left == 0 {
                self.count(|struck| {
                    struck.reset += 1;
                    struck.in_body += 1;
                });
                return reset(&client);
            }
            if read == 0 {
                return Ok(client.shutdown().await?);
            }
        }
    }
}

fn writes(request: &[u8]) -> bool {
    request.starts_with(b"PUT ") || request.starts_with(b"POST ")
}

/// Whether it is to fail where something is there already.
fn creates(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    writes(request) && text.lines().any(|line| line.starts_with("if-none-match:"))
}

/// Everything up to the empty line.
async fn head(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 64 << 10 {
            bail!("a head without an end");
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn length(head: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    line.and_then(|length| length.trim().parse().ok())
        .unwrap_or(0)
}

/// Ends a connection as a broken network does.
fn reset(stream: &TcpStream) -> Result<()> {
    stream.set_zero_linger().context("reset a connection")
}

#[expect(clippy::disallowed_methods, reason = "the delay is what is tested")]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

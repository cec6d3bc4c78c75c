//! Ports for servers that cannot be handed a listener. A port that was asked for and given back may be somebody else's by the time
//! that the server starts, so these lie where the system hands out none, and tests keep out of each other's way by a name.

use std::net::TcpListener;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use anyhow::{Context, Result};

/// Below what systems hand out on their own (`ip_local_port_range`), and above what well-known servers use.
const PORTS: Range<u16> = 20_000..28_000;

/// A port that no other test takes until this is dropped.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    /// A name that the system knows without a file, and forgets with the process.
    _claim: UnixListener,
}

impl Port {
    /// The first one that is free, from where this process begins to look.
    pub fn claim() -> Result<Self> {
        let count = u32::from(PORTS.end - PORTS.start);
        let first = std::process::id() % count;
        (first..count)
            .chain(0..first)
            .filter_map(|offset| u16::try_from(offset).ok())
            .find_map(|offset| Self::take(PORTS.start + offset))
            .context("every port is taken")
    }

    fn take(number: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("whimbrel-tests-{number}")).ok()?;
        let claim = UnixListener::bind_addr(&name).ok()?;
        // Somebody else's server may be there.
        TcpListener::bind(("127.0.0.1", number)).ok()?;
        Some(Self {
            number,
            _claim: claim,
        })
    }
}

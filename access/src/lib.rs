//! Who may come in, and what they may do: TLS on ports and connections, tokens and roles, signed tickets.
//!
//! Nothing here decides by the network: a caller is who its certificate, its token or its ticket says. What is shown is
//! compared without telling where it differs, and no secret is ever in an error, a log line or a `Debug` text.

mod clock;
mod date;
mod digest;
mod file;
pub mod keyring;
pub mod oidc;
pub mod role;
pub mod ticket;
pub mod tls;
pub mod tokens;

pub use keyring::{Keyring, KeyringOptions, basic, bearer};
pub use oidc::OidcOptions;
pub use role::{Caller, Role};
pub use ticket::{TicketKeys, TicketSigner};
pub use tls::{ClientTls, ClusterTls, ServerTls, TlsFiles};
pub use tokens::{TokenFile, new_token};

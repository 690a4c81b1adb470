//! The gateway: speaks in.php / res.php to its clients, and puts the engine between them and the
//! upstream.
//!
//! ```text
//! client ──▶ server ──▶ params ──▶ gateway: who asks? ──▶ submit   (in.php)  ──▶ engine.submit
//!                                                    ├──▶ question (res.php) ──▶ the store
//!                                                    └──▶ createtask: the same two in other words
//!        ◀── reply ◀── wording: text or JSON, as the client asked ◀──┘
//! ```
//!
//! A client changes its base URL and nothing else. What it sends is accepted durably before it is
//! answered; what it asks is answered from the store, and never from upstream.

mod askers;
mod authority;
mod connection;
mod createtask;
#[cfg(test)]
mod fuzz;
mod gateway;
mod guesses;
mod issue;
mod load;
mod metrics;
mod params;
mod pingbacks;
mod places;
mod question;
mod quota;
mod quotas;
mod refusals;
mod request;
mod scrape;
mod server;
mod settings;
mod submit;
mod tls;
mod unused;
mod wire;
mod wording;
mod words;

pub use askers::{Askers, IssuedKey, KEYS_DOCUMENT, KeyBook, KeysError, new_key};
pub use authority::{Authority, AuthorityError};
pub use gateway::Gateway;
pub use issue::{By, Issued, KeyError, KeyTerms, is_name, issue, issued, revoke};
pub use quota::{Quota, Rate};
pub use server::{Running, ServeError, serve, serve_on};
pub use settings::{Limits, SUBMIT_WAIT_MAX, Settings};
pub use tls::{Tls, TlsError};

//! Settings and where each of them comes from: flag, environment, file, default.

mod dotenv;
mod environment;
mod file;
mod key;
mod layers;
mod ledger;
mod passfile;
mod provider;
mod settings;
mod table;

pub(crate) use environment::Environment;
pub(crate) use file::{candidates, find};
pub(crate) use key::masked;
pub(crate) use layers::{Flags, load};
pub(crate) use passfile::complete as with_password;
pub(crate) use provider::ProviderName;
pub(crate) use settings::{Settings, shown};
pub(crate) use table::{CRASH_VARIABLE, TIME_SCALE_VARIABLE, nearest};

//! The phases of a breaker, and what is announced when one gives way to another.

use crate::{label::labels, time::UnixMs};
use serde::{Deserialize, Serialize};
use std::fmt;

labels! {
    /// What a breaker lets through.
    pub enum Phase {
        /// Everything.
        Closed = "closed",
        /// Nothing.
        Open = "open",
        /// Whoever holds the probe's lease.
        HalfOpen = "half_open",
    }
}

/// A change of phase, to be announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The phase before.
    pub from: Phase,
    /// The phase after.
    pub to: Phase,
    /// Why it changed.
    pub reason: Reason,
    /// When.
    pub at: UnixMs,
    /// The generation that counts from now on.
    pub generation: u64,
}

/// Why a breaker stands as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChange {
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub at: UnixMs,
}

/// Why a breaker changed its phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Reason {
    /// That many outages in a row.
    #[serde(rename = "run")]
    Run {
        /// The row's length.
        outages: u32,
    },
    /// Too many outages among the outcomes of the window.
    #[serde(rename = "share")]
    Share {
        /// Outages in the window.
        outages: u32,
        /// All outcomes in the window.
        outcomes: u32,
    },
    /// Its time was over, and the first probe went out.
    #[serde(rename = "elapsed")]
    Elapsed,
    /// The probes were answered.
    #[serde(rename = "probe_ok")]
    ProbeOk,
    /// The probe met an outage.
    #[serde(rename = "probe_outage")]
    ProbeOutage,
    /// A person forced it.
    #[serde(rename = "forced")]
    Forced {
        /// Who.
        by: String,
        /// Why, in their words.
        why: String,
    },
    /// A person gave it back its own judgement.
    #[serde(rename = "reset")]
    Reset {
        /// Who.
        by: String,
        /// Why, in their words.
        #[serde(default)]
        why: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { outages } => write!(f, "{outages} outages in a row"),
            Self::Share { outages, outcomes } => write!(f, "{outages} outages of {outcomes}"),
            Self::Elapsed => f.write_str("time to probe"),
            Self::ProbeOk => f.write_str("probe answered"),
            Self::ProbeOutage => f.write_str("probe met an outage"),
            Self::Forced { by, why } => write!(f, "forced by {by}: {why}"),
            Self::Reset { by, why } if why.is_empty() => write!(f, "reset by {by}"),
            Self::Reset { by, why } => write!(f, "reset by {by}: {why}"),
        }
    }
}

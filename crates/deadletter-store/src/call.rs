//! The calls of a store by name, for what stands between a caller and a store.

use std::fmt;

/// Declares [`Call`] with its labels.
macro_rules! calls {
    ($($variant:ident = $label:literal,)+) => {
        /// One method of [`Tasks`](crate::Tasks), [`Desk`](crate::Desk),
        /// [`Registry`](crate::Registry), [`Deliveries`](crate::Deliveries) or
        /// [`Store`](crate::Store), by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "each is the method of the same name")]
        pub enum Call { $($variant,)+ }

        impl Call {
            /// Every call, in the order of the traits.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The method's name.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

calls! {
    Insert = "insert",
    Claim = "claim",
    Commit = "commit",
    MarkRead = "mark_read",
    TakeOver = "take_over",
    Abandoned = "abandoned",
    Overdue = "overdue",
    NextDue = "next_due",
    Get = "get",
    Told = "told",
    Payload = "payload",
    History = "history",
    Answer = "answer",
    Answers = "answers",
    Bearers = "bearers",
    Page = "page",
    Census = "census",
    Tallies = "tallies",
    Totals = "totals",
    Recount = "recount",
    Freeze = "freeze",
    Pending = "pending",
    Skip = "skip",
    TallyItems = "tally_items",
    Purge = "purge",
    Forget = "forget",
    LastEvent = "last_event",
    Events = "events",
    Trail = "trail",
    Register = "register",
    Beat = "beat",
    Leave = "leave",
    DeclareDead = "declare_dead",
    Workers = "workers",
    Permits = "permits",
    Document = "document",
    PutDocument = "put_document",
    Documents = "documents",
    Audit = "audit",
    AuditLog = "audit_log",
    AuditAfter = "audit_after",
    TakeDeliveries = "take_deliveries",
    SettleDeliveries = "settle_deliveries",
    NextDelivery = "next_delivery",
    Deliveries = "deliveries",
    CountDeliveries = "count_deliveries",
    Pulse = "pulse",
    Ailments = "ailments",
    Close = "close",
}

impl Call {
    /// True where the call can write: its outcome can be in doubt.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(
            self,
            Self::Insert
                | Self::Claim
                | Self::Commit
                | Self::MarkRead
                | Self::TakeOver
                | Self::Freeze
                | Self::Skip
                | Self::Purge
                | Self::Forget
                | Self::Register
                | Self::Beat
                | Self::Leave
                | Self::DeclareDead
                | Self::PutDocument
                | Self::Audit
                | Self::TakeDeliveries
                | Self::SettleDeliveries
        )
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

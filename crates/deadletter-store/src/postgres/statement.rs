//! A statement with its parameters, each under the type that it goes out with.

use std::borrow::Cow;
use tokio_postgres::types::{ToSql, Type};

/// A value that a statement may carry.
///
/// The server is told the type with the value, so a statement costs no question before it: it is
/// read, bound and run in one message, and leaves nothing behind in the session.
pub(super) trait Typed: ToSql + Send + Sync + 'static {
    const TYPE: Type;
}

macro_rules! typed {
    ($($value:ty: $one:ident, $many:ident;)+) => { $(
        impl Typed for $value { const TYPE: Type = Type::$one; }
        impl Typed for Option<$value> { const TYPE: Type = Type::$one; }
        impl Typed for Vec<$value> { const TYPE: Type = Type::$many; }
        impl Typed for Vec<Option<$value>> { const TYPE: Type = Type::$many; }
    )+ };
}

typed! {
    i64: INT8, INT8_ARRAY;
    i32: INT4, INT4_ARRAY;
    i16: INT2, INT2_ARRAY;
    bool: BOOL, BOOL_ARRAY;
    String: TEXT, TEXT_ARRAY;
    Vec<u8>: BYTEA, BYTEA_ARRAY;
}

/// SQL that stands in the program, and what it is run with.
pub(super) struct Statement {
    pub(super) sql: Cow<'static, str>,
    params: Vec<(Box<dyn ToSql + Send + Sync>, Type)>,
}

impl Statement {
    pub(super) fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self { sql: sql.into(), params: Vec::new() }
    }

    /// Adds the next parameter: `$1`, `$2`, ...
    #[must_use]
    pub(super) fn put<T: Typed>(mut self, value: T) -> Self {
        self.params.push((Box::new(value), T::TYPE));
        self
    }

    /// The same for text that is not ours.
    #[must_use]
    pub(super) fn text(self, value: &str) -> Self {
        self.put(value.to_owned())
    }

    /// The parameters as the driver takes them.
    pub(super) fn params(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.params.iter().map(|(value, kind)| (&**value as _, kind.clone())).collect()
    }
}

//! The cases, by topic. Each is a plain function over a [`Harness`](crate::harness::Harness); its
//! name is the sentence that it proves.

pub(crate) mod insert;

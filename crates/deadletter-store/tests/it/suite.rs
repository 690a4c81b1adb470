//! The list of cases, once; [`conformance!`] makes a test of each for every backend.

/// A test module for each backend that is named, each with every case.
macro_rules! conformance {
    ($($backend:ident)+) => {
        $(mod $backend { every_case! { cases_over! $backend } })+
    };
}

/// One test for each case over one backend.
macro_rules! cases_over {
    ($backend:ident $($topic:ident { $($case:ident)+ })+) => {
        $(mod $topic { $(
            #[tokio::test]
            async fn $case() {
                crate::harness::run(crate::backends::$backend(), crate::cases::$topic::$case).await;
            }
        )+ })+
    };
}

/// Every case by topic, handed on to `$macro`.
macro_rules! every_case {
    ($macro:ident! $backend:ident) => {
        $macro! { $backend
            insert {
                a_new_task_is_stored_as_it_was_given
            }
        }
    };
}

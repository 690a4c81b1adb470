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
                an_id_that_stands_is_not_given_twice
                of_two_equal_ids_in_a_batch_the_first_wins
                one_refused_task_does_not_keep_the_others_of_its_batch_out
                an_empty_batch_is_no_error
                a_thousand_tasks_go_in_at_once
                rows_come_back_in_the_order_asked_for
                any_text_and_two_hundred_kilobytes_come_back_unchanged
                the_largest_id_that_there_is_can_be_stored
            }
            idempotency {
                a_key_that_stands_answers_with_its_task
                the_same_insert_again_is_existing_and_not_a_taken_id
                keys_of_different_owners_do_not_meet
                an_expired_key_passes_to_the_new_task
                a_key_without_an_end_never_expires
                of_two_equal_keys_in_a_batch_the_first_wins
                a_purged_task_is_never_answered_as_existing
                a_purge_leaves_a_key_alone_that_has_passed_to_another_task
            }
            claim {
                a_claim_writes_the_lease_and_the_intent
                tasks_go_by_priority_then_turn_then_due_time_then_id
                the_number_of_tokens_is_the_limit
                a_task_due_later_is_claimed_when_it_is_due
                a_claim_with_an_earlier_now_takes_nothing_that_is_not_due_then
                a_task_whose_deadline_has_passed_is_not_claimed
                a_held_task_is_not_claimed_until_it_is_released
                a_hold_set_on_a_waiting_task_keeps_it_back
                each_lane_of_each_account_is_claimed_apart
                nobody_gets_a_task_that_is_taken
                claims_at_the_same_time_share_the_tasks_out_without_overlap
                a_worker_that_is_not_alive_is_refused_and_nothing_is_taken
                the_next_due_time_is_that_of_the_first_unheld_task
                a_retry_is_claimed_in_its_lane_with_the_next_number
                overdue_tasks_are_listed_by_deadline_held_ones_too
            }
            permits {
                permits_never_exceed_the_threads_over_all_workers
                claims_at_the_same_time_stay_within_the_threads
                accounts_have_threads_of_their_own
                a_verdict_frees_the_permit
                an_attempt_in_doubt_holds_its_permit_until_its_hold_time_ends
                a_claim_lets_attempts_of_its_own_account_lapse_only
                a_resumed_attempt_without_permit_still_lapses_when_abandoned_again
                a_released_intent_frees_its_permit
            }
            commit {
                a_row_is_written_at_the_version_that_was_read
                a_stale_row_is_not_written
                the_facts_of_a_stale_row_are_taken_in
                a_row_of_a_newer_version_than_stands_is_stale
                a_row_of_a_task_that_does_not_stand_is_stale
                of_two_changes_at_one_version_in_a_batch_the_first_wins
                changes_of_a_batch_build_on_each_other_in_order
                a_stale_change_does_not_keep_the_others_of_its_batch_out
                an_empty_change_is_applied
                a_thousand_changes_are_written_at_once
                every_field_of_a_row_is_written
            }
            facts {
                a_late_acceptance_is_kept_after_the_task_moved_on
                the_first_upstream_id_of_an_attempt_stays
                an_abandonment_is_written_with_its_failure
                a_late_answer_solves_a_task_that_waits_for_its_retry
                a_late_answer_solves_a_dead_letter
                of_two_answers_one_wins_and_both_are_kept
                the_first_answer_of_an_attempt_stays
                a_closed_attempt_learns_nothing_but_an_answer
                an_answer_of_a_cancelled_task_is_kept_unused
                a_fact_under_a_foreign_token_is_no_news
                every_part_of_an_answer_comes_back
                a_resumed_attempt_is_open_again
                bearers_of_an_upstream_id_are_counted_within_the_account
            }
        }
    };
}

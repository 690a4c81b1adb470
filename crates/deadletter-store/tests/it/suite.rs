//! The list of cases, once; [`conformance!`] makes a test of each for every backend.

/// A test module for each backend that is named, each with every case; those of durable ones with
/// the cases of reopening too.
macro_rules! conformance {
    (lost when closed: $($backend:ident)+, durable: $($durable:ident)+) => {
        $(mod $backend { every_case! { cases_over! $backend } })+
        $(mod $durable {
            every_case! { cases_over! $durable }
            durable_case! { cases_over! $durable }
        })+
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
                attempts_that_a_task_brings_along_become_its_history
                a_whole_life_can_be_brought_along
                what_is_under_way_is_brought_along_with_its_permits
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
                a_folded_key_leads_to_an_open_task_and_passes_on_from_one_that_has_ended
                a_folded_key_expires_like_any_other
            }
            readings {
                a_verdict_is_noted_once_and_its_row_stays_at_its_version
                an_answer_that_is_told_before_it_expires_does_not_expire_unused
                an_answer_that_is_stored_expired_counts_from_then_on
                a_task_that_goes_on_has_another_verdict_to_tell
                what_is_noted_outlives_a_change_by_somebody_who_did_not_know
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
                an_attempt_counts_against_its_own_account_wherever_its_task_goes
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
                a_field_that_changes_alone_is_written_in_every_state
            }
            facts {
                a_late_acceptance_is_kept_after_the_task_moved_on
                a_late_acceptance_takes_its_task_out_of_the_queue
                the_first_upstream_id_of_an_attempt_stays
                an_abandonment_is_written_with_its_failure
                a_late_answer_solves_a_task_that_waits_for_its_retry
                a_task_is_told_with_the_answer_that_solved_it
                an_answer_that_did_not_win_is_told_to_nobody
                a_late_answer_solves_a_dead_letter
                of_two_answers_one_wins_and_both_are_kept
                the_first_answer_of_an_attempt_stays
                a_closed_attempt_learns_nothing_but_an_answer
                an_answer_of_a_cancelled_task_is_kept_unused
                a_fact_under_a_foreign_token_is_no_news
                every_part_of_an_answer_comes_back
                a_resumed_attempt_is_open_again
                a_stale_redrive_opens_no_attempt
                bearers_of_an_upstream_id_are_counted_within_the_account
                an_id_of_another_tasks_open_attempt_is_not_given_again
                an_id_is_given_again_when_its_attempt_is_closed
                an_id_that_is_given_up_may_be_taken_in_the_same_batch
                of_one_batch_the_first_has_the_id
                an_id_that_was_given_again_is_not_resumed
            }
            take_over {
                tasks_of_a_dead_worker_go_to_the_one_who_asks
                ids_to_poll_come_before_submits_in_doubt_each_by_id
                tasks_of_living_workers_are_left_alone
                what_was_taken_over_is_stale_for_its_old_worker
                a_polled_task_given_back_is_taken_by_the_next
                a_resumed_dead_letter_is_taken_by_whoever_asks_first
                a_worker_that_left_holds_nothing
                abandoned_attempts_are_adopted_oldest_first
                abandoned_attempts_of_a_worker_are_found_by_it
                an_attempt_without_upstream_id_cannot_be_polled
                an_attempt_that_lapsed_is_polled_no_more
                an_attempt_that_its_task_waits_for_is_not_abandoned_by_a_stale_word
                only_the_accounts_asked_for_are_taken
                a_worker_that_is_not_alive_takes_nothing
                a_task_whose_attempt_is_missing_hinders_no_other
                two_who_ask_at_the_same_time_share_out_without_overlap
                a_rescued_submit_goes_back_with_its_permit_held
            }
            workers {
                a_beat_answers_store_time
                a_beat_tells_how_many_live
                a_silent_worker_is_declared_dead_once
                workers_that_are_gone_are_forgotten_with_their_tallies
                a_beat_after_death_is_refused_for_ever
                an_unknown_worker_is_refused
                an_id_is_never_used_twice
                a_worker_that_left_is_not_declared_dead_and_may_not_beat
                workers_are_listed_newest_first_and_bounded
                a_clock_that_goes_back_kills_nobody
            }
            pages {
                a_page_has_whole_rows_in_the_order_of_ids
                an_empty_store_has_an_empty_page
                a_walk_by_cursor_meets_every_task_once
                the_last_page_says_that_it_is_the_last
                a_page_of_nothing_is_empty
                a_walk_goes_on_where_its_last_task_was_purged
                filters_choose_by_what_is_indexed_and_by_what_is_not
                named_ids_are_found_in_order_and_once
                ages_are_measured_at_the_querys_now
                a_filter_that_finds_little_is_bounded_by_the_scan_limit
            }
            counts {
                totals_follow_a_task_through_its_states
                the_census_counts_the_dead_by_each_dimension_largest_first
                the_census_of_some_places_leaves_the_others_out
                the_census_forgets_what_was_redriven_buried_and_purged
                a_redriven_task_that_dies_again_counts_under_its_new_cause
                a_stale_change_counts_nothing
                tallies_count_by_the_minute_and_the_dimension
                failures_are_tallied_while_the_task_goes_on
                submits_and_doubts_are_tallied_once
                odd_values_are_counted_apart
            }
            operations {
                a_freeze_takes_what_the_filter_chooses_with_its_version
                a_freeze_goes_on_in_bounded_steps
                a_step_repeated_adds_nothing
                a_settled_item_is_not_frozen_again
                operations_freeze_apart_from_each_other
                an_item_is_settled_by_the_commit_of_its_change
                a_stale_change_settles_nothing
                only_pending_items_can_be_skipped
                pending_items_are_listed_by_id_and_bounded
            }
            purge {
                a_purge_takes_everything_that_is_the_tasks
                a_task_that_has_changed_is_not_purged
                only_terminal_tasks_are_purged
                every_terminal_state_can_be_purged_and_each_task_once
                a_task_with_an_open_permit_is_not_purged_until_it_lapses
                a_late_answer_of_a_purged_task_is_no_news
                a_purge_takes_the_tasks_items_and_leaves_its_events
            }
            events {
                each_terminal_change_is_one_event_in_order
                the_sequence_rises_and_can_be_read_on_from_anywhere
                a_redrive_is_no_event_but_the_second_death_is_one
                a_trail_holds_what_is_on_record_of_one_task
                events_of_purged_tasks_are_forgotten_and_the_newest_stays
            }
            documents {
                a_document_is_written_at_the_version_that_was_read
                whoever_is_slower_writes_nothing
                of_many_who_write_at_once_one_wins
                documents_are_found_by_exact_prefix_in_order
            }
            deliveries {
                the_end_of_a_task_that_delivers_is_a_delivery
                a_task_that_tells_nobody_makes_no_delivery
                every_end_is_told_and_what_is_no_news_is_not
                a_redriven_task_that_is_solved_is_told_anew_under_another_id
                a_late_answer_of_a_dead_letter_is_told
                a_stale_change_makes_no_delivery
                what_was_taken_is_taken_again_when_its_lease_ends
                deliveries_are_taken_by_due_time_and_at_most_as_many_as_asked_for
                a_busy_place_does_not_keep_the_others_back
                a_place_is_taken_for_and_looked_for_by_name
                what_is_delivered_or_given_up_is_never_taken_again
                a_try_that_failed_is_due_again_when_it_was_said
                a_settlement_of_a_lost_lease_writes_nothing
                what_two_take_at_once_is_shared_out_without_overlap
                deliveries_of_a_task_are_listed_newest_first_and_bounded
                a_purge_takes_the_tasks_deliveries_and_their_counts
                deliveries_are_counted_by_how_far_they_have_come
            }
            audit {
                entries_are_listed_last_appended_first
                the_log_is_read_in_its_order_page_by_page
                a_number_that_stands_is_not_written_again
            }
            handles {
                the_pulse_changes_with_each_write_of_another_handle
                another_handle_sees_what_was_written
                a_store_names_itself_and_measures_by_its_clock
                every_call_after_a_close_answers_closed
            }
            conservation {
                a_random_walk_loses_and_doubles_nothing
            }
        }
    };
}

/// Every case of reopening, handed on to `$macro`.
macro_rules! durable_case {
    ($macro:ident! $backend:ident) => {
        $macro! { $backend
            reopen {
                tasks_with_all_that_is_theirs_come_back
                counts_and_events_come_back_and_go_on
                the_queue_comes_back_in_its_order
                what_a_worker_held_is_taken_over_after_a_restart
                a_declared_death_and_a_departure_are_for_ever
                the_desk_comes_back
                deliveries_come_back_with_their_tries
                an_idempotency_key_and_an_id_stay_taken
                a_random_walk_comes_back_whole
            }
        }
    };
}

//! One suite that every engine passes, run against the facade.
//!
//! - [`NewStore`]: an empty store of an engine. `scene`: a store on a fake clock, and the
//!   operations of a server on it.
//! - `accepting`, `again`, `claiming`, `settling`, `ordering`, `dead_letters`, `bulk`, `retention`,
//!   `operations`, `maintenance`, `origins`, `learned_secrets`, `reading`, `counts`, `rollups`,
//!   `alerts`, `telling`, `tail`, `texts`, `unrouted`, `stopping`: the cases, by subject. Each
//!   is a function of a [`NewStore`].
//! - `same_states`: random operations, made on two stores.
//!
//! A case sees an engine's data through the facade's own reads. After a case the engine also checks
//! its data in its own way ([`NewStore::check`]).

mod accepting;
mod again;
mod alerts;
mod bulk;
mod claiming;
mod counts;
mod dead_letters;
mod learned_secrets;
mod maintenance;
mod operations;
mod ordering;
mod origins;
mod reading;
mod retention;
mod rollups;
pub(in crate::store) mod same_states;
pub(in crate::store) mod scene;
mod settling;
mod stopping;
mod tail;
mod telling;
mod texts;
mod unrouted;

use std::any::Any;

use crate::config;

/// An empty store of an engine.
pub(crate) struct NewStore {
    pub settings: config::Database,
    /// Checks the engine's data: nothing refers to a row that isn't there.
    pub check: fn(&config::Database),
    /// Deletes the store when it is dropped.
    pub _guard: Box<dyn Any>,
}

/// Makes a test of each case for an engine, given a function that returns a [`NewStore`].
macro_rules! conformance {
    ($engine:ident, $new:path) => {
        conformance! { @of $engine, $new,
            accepting {
                an_accepted_event_is_stored_with_a_delivery_for_each_destination,
                an_accepted_relay_is_stored_with_its_url_and_metadata,
                an_event_key_names_one_intent_of_its_source,
                a_relay_key_is_scoped_to_its_api_key_and_conflicts_with_other_bytes,
                a_key_sent_by_many_threads_at_once_makes_one_intent,
                a_key_expires_with_its_window_and_survives_a_restart,
                ids_ascend_even_when_the_clock_is_set_back,
                an_api_key_has_a_bounded_number_of_waiting_origins,
                work_is_announced_after_its_commit_and_for_its_destinations,
            }
            again {
                delivered_deliveries_are_replayed_once_by_an_operation_that_survives_restarts,
                an_operation_reads_on_where_it_stood_after_a_restart,
                an_event_is_sent_to_another_destination_once,
                a_dry_run_on_one_event_tells_what_the_operation_would_do,
                todays_routes_create_the_deliveries_that_are_missing,
                a_retry_makes_due_what_waits_and_keeps_its_budget,
                a_reroute_moves_what_waits_with_its_history,
                deliveries_that_come_back_from_flight_are_discarded_too,
                deliveries_that_stay_in_flight_are_left_and_reported,
                a_request_made_twice_is_one_operation,
                filters_select_by_type_and_say_which_time_they_compare,
                a_probe_that_an_operator_asks_for_is_stored,
                an_unrouted_event_that_is_sent_somewhere_is_unrouted_no_more,
            }
            claiming {
                a_claim_takes_the_due_deliveries_that_were_requested,
                a_delivery_is_claimed_once,
                a_scan_finds_each_waiting_destination_once,
                a_scan_reports_newcomers_and_statuses,
                a_backlog_counts_due_deliveries_up_to_its_limit,
                a_released_delivery_is_due_again_and_has_spent_no_attempt,
                a_restart_releases_claims_and_counts_only_begun_attempts_as_interrupted,
                a_delivery_interrupted_too_often_is_dead_lettered,
                a_message_is_loaded_if_headers_and_body_fit,
            }
            settling {
                each_outcome_moves_the_delivery_and_is_recorded,
                a_settlement_of_another_claim_changes_nothing,
                a_late_settlement_leaves_a_finished_delivery_as_it_is,
                a_delivery_is_claimed_in_the_transaction_that_settles_another,
                many_settlements_are_made_in_steps_and_all_are_durable,
                a_history_keeps_its_latest_entries,
                failures_are_remembered_until_a_replay,
                a_hold_or_a_pause_prevents_claims_of_the_same_change,
                a_hold_a_pause_and_a_breaker_are_stored_with_the_destination,
                deliveries_that_a_lifted_hold_kept_go_at_once,
                a_lifted_hold_brings_all_forward_that_retry_within_it,
                a_reload_forgets_what_a_replaced_server_asked_for_and_brings_probes_forward,
            }
            ordering {
                deliveries_of_one_key_are_claimed_in_order_of_acceptance,
                a_release_is_announced_to_the_dispatcher,
                a_retry_a_release_and_a_restart_keep_the_place,
                a_dead_letter_is_skipped_or_blocks_as_its_destination_says,
                a_replayed_dead_letter_that_blocked_goes_first_and_another_one_last,
                a_discarded_dead_letter_lets_the_next_one_go,
                a_dead_letter_that_blocks_outlives_retention,
                a_blocked_delivery_has_no_time_and_is_no_work,
                dead_letters_no_longer_block_once_their_destination_skips_them,
                a_delivery_interrupted_too_often_blocks_or_is_skipped,
                a_paced_replay_waits_for_a_crowded_line_but_not_for_one_that_stands_still,
            }
            dead_letters {
                a_replay_queues_dead_letters_with_a_fresh_budget,
                only_dead_letters_are_replayed_or_discarded,
                a_discarded_delivery_keeps_its_row_and_the_last_one_takes_the_payload,
                the_key_of_a_discarded_event_names_it_until_its_window_ends,
                a_redelivery_does_not_revive_a_discarded_event,
                a_redelivery_does_not_revive_an_erased_event,
                commands_work_beside_a_server_and_without_one,
            }
            operations {
                an_operation_of_several_destinations_is_one,
                a_nonce_names_one_operation_and_no_other,
                a_request_is_the_same_if_its_times_are_as_they_were_or_of_the_same_age,
                an_operation_that_selects_nothing_has_ended,
                an_operation_of_ids_acts_on_these_alone,
                deliveries_in_flight_of_an_operation_of_ids_are_looked_for_again,
                an_operation_has_never_done_more_than_its_total,
                a_client_s_count_is_bounded,
            }
            tail {
                a_tail_tells_of_each_event_and_attempt_once,
                filters_select_the_entries_of_a_tail,
                a_tail_begins_in_the_past_if_it_is_asked_to,
                a_tail_that_is_behind_reads_on_and_one_that_misses_attempts_says_so,
            }
            bulk {
                a_replay_makes_each_dead_letter_due_once_and_ends,
                a_replay_waits_while_many_deliveries_wait,
                a_bulk_operation_survives_a_restart_and_can_be_cancelled,
                filters_select_by_destination_source_reason_and_time,
                an_operation_is_created_for_each_of_many_destinations,
                an_origin_deleted_after_its_dead_letters_were_counted_gets_no_operation,
            }
            maintenance {
                retention_follows_the_configured_times,
                a_sweep_that_deletes_for_long_is_followed_by_the_usual_pause,
                without_a_retention_time_nothing_is_deleted,
                a_clock_that_jumps_deletes_nothing,
                a_replay_waits_for_deliveries_only_if_a_level_delivers,
                a_replay_does_not_wait_for_a_destination_that_left_the_configuration,
                another_worker_continues_a_bulk_operation,
                many_waiting_operations_do_not_block_the_next_one,
            }
            retention {
                finished_intents_are_deleted_after_their_time_counted_from_their_end,
                without_cutoffs_nothing_is_deleted,
                expired_keys_are_deleted_and_others_are_kept,
                a_delivery_replayed_after_it_was_found_expired_keeps_its_intent,
                an_event_with_many_destinations_and_attempts_is_deleted_as_a_whole,
                an_event_replayed_while_it_is_deleted_is_kept,
            }
            origins {
                an_ad_hoc_origin_is_deleted_after_its_last_delivery,
                only_origins_that_nothing_needs_are_deleted,
                an_origin_used_during_a_pass_is_kept,
                an_origin_that_an_import_uses_during_a_pass_is_kept,
                a_pass_of_an_earlier_process_deletes_nothing,
                passes_and_accepted_events_leave_no_delivery_without_its_destination,
                passes_beside_a_thread_that_accepts_leave_no_orphan,
            }
            learned_secrets {
                a_secret_is_learned_once_while_it_is_expected,
                an_expectation_ends_with_its_time,
                a_source_keeps_a_bounded_number_of_secrets,
                a_source_forgets_its_own_secrets_only,
            }
            reading {
                a_list_has_the_latest_matching_deliveries,
                stats_count_the_deliveries_of_each_destination,
                relays_are_paged_in_the_order_of_their_ids,
                the_backlog_excludes_deliveries_that_are_kept_back,
                an_empty_backlog_has_every_reason,
            }
            counts {
                counts_equal_a_recount_after_any_operations,
            }
            rollups {
                counts_are_added_to_their_minute_and_hour,
                a_query_adds_up_the_periods_of_its_steps,
                many_names_are_recorded_in_steps_and_read_as_one_answer,
                rollups_past_their_time_are_deleted,
                accepted_events_and_attempts_are_counted_within_ten_seconds,
                the_counts_of_a_minute_are_written_under_it,
                a_clock_that_is_set_repeats_no_minute_and_the_end_writes_the_rest,
            }
            alerts {
                a_state_and_its_event_are_written_together_and_survive_a_restart,
                without_its_event_no_state_is_written,
                new_dead_letters_are_found_once_and_counted,
                a_replayed_dead_letter_is_not_counted,
                the_facts_of_a_destination_are_those_that_are_stored,
            }
            telling {
                thirty_dead_letters_make_one_digest_and_later_ones_the_next,
                dead_letters_of_a_killed_process_are_told_by_the_next,
                dead_letters_that_other_processes_gave_up_are_told,
                a_destination_that_breaks_and_heals_is_told_twice,
                a_destination_that_a_reload_took_away_is_told_of_anew_when_it_comes_back,
                nothing_is_told_about_the_destination_of_alerts,
                a_pause_and_an_old_backlog_are_told_once,
                a_set_clock_and_a_refused_reload_are_told_once,
            }
            texts {
                texts_with_a_nul_are_stored_as_they_came,
                operations_select_by_texts_with_a_nul,
                a_name_with_a_nul_is_nobodys,
                relays_and_unrouted_events_may_hold_a_nul,
                secrets_reasons_and_reports_may_hold_a_nul,
            }
            unrouted {
                an_event_without_destinations_is_stored_listed_and_counted,
                a_page_s_count_of_unrouted_events_is_bounded,
                an_unrouted_events_key_names_it_and_a_redelivery_replays_nothing,
                unrouted_events_are_deleted_like_delivered_ones_counted_from_their_acceptance,
            }
            stopping {
                a_stop_commits_earlier_writes_and_refuses_later_ones,
                pauses_and_resumes_are_stored_and_announced,
            }
        }
    };
    (@of $engine:ident, $new:path, $($subject:ident { $($case:ident,)* })*) => {
        mod $engine {
            $(mod $subject {
                $(
                    #[test]
                    fn $case() {
                        use $crate::store::conformance::{$subject, NewStore};
                        // None: the engine has no server here, and said so.
                        if let Some(new) = Option::<NewStore>::from($new()) {
                            $subject::$case(new);
                        }
                    }
                )*
            })*
        }
    };
}

conformance!(sqlite, crate::store::sqlite::tests::new_store);
with_postgres! {
    conformance!(postgres, crate::store::postgres::tests::new_store);
}

//! The fault catalogue on real sockets: the service as configured, between callers and two simulated regions of which
//! the primary misbehaves. Thresholds are scaled, counts and shares are not. Rows that other areas hold already are not
//! told twice.
//!
//! | rows | held by |
//! |---|---|
//! | 1, 9, 11-13, 35-44, 53, 56, 68 | `switching` |
//! | 2, 23, 25, 26, 27 (model version), 32-34 | `answers` |
//! | 3-8, 10, 64 | `connecting` |
//! | 14-20, 22, 24 | `streams` |
//! | 29-31, 45 | `throttling` |
//! | 49-51 | `callers`; row 50 takes a minute: `make faults` |
//! | 10 (the region's process stops), 60, 61 | `processes` |
//! | 57 | `audit::service::without_a_record_nothing_is_sent_and_it_heals_by_itself`; `full_disk` on a real one: `make faults` |
//! | 55, 58 | `audit::kill`, `audit::tamper` |
//! | 63 | `network`; `make faults` shows it with the kernel's netem too, where there is one and the right to use it |
//! | 65 | `http2` |
//! | 3 (return), 14 and 16 (two more ways to break) | `regions` |
//! | 5, 6 (one attempt each) | `azure::connecting` |
//! | 18, 22 (every silence and every tail) | `azure::limits`, `azure::endings` |
//! | 21 `[DONE]` without a finish reason | `azure::endings::the_table_of_endings` |
//! | 25 gzip bomb, large bodies | `azure::hostile::a_compressed_answer_is_not_unpacked`, `what_is_too_large_is_refused` |
//! | 27 wrong dimension | `azure::hostile::shortened_vectors_must_have_the_length_asked_for` |
//! | 28 `Retry-After: 2` | `regions::a_throttled_primary_cools_and_the_standby_serves_at_once` |
//! | 34 the key does not travel | `azure::hostile::a_redirect_is_not_followed_and_the_key_does_not_travel` |
//! | 46 only the primary is permitted | `regions::nothing_goes_to_a_region_that_the_request_excludes` |
//! | 52 deadlines | `grpc::calls::a_deadline_of_one_millisecond_says_nothing_about_the_target`, unit tests of `grpc::deadline` |
//! | 54 SIGTERM | `grpc::operations::draining_turns_readiness_and_lets_calls_finish` |
mod answers;
mod callers;
mod connecting;
mod full_disk;
mod http2;
mod network;
mod onset;
mod processes;
mod streams;
mod switching;
mod throttling;

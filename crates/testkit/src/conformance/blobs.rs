//! What every `BlobStore` keeps. One function per sentence; `blob_store_conformance!` makes each a test.

#![expect(clippy::unwrap_used, reason = "a suite fails as a test does: by panicking")]

mod finishing;
mod giving_up;
mod listing;
mod python;
mod reading;
pub mod support;

pub use finishing::*;
pub use giving_up::*;
pub use listing::*;
pub use python::python;
pub use reading::*;

/// One test per behaviour. The factory is an async function that gives `(Arc<dyn BlobStore>, anything)`: a store of
/// the test's own, and what must live as long as it.
#[macro_export]
macro_rules! blob_store_conformance {
    ($factory:path) => {
        $crate::blob_store_conformance! { $factory:
            a_finished_file_is_described_as_it_was_put
            a_file_of_any_size_comes_back_whole
            a_head_replaces_bytes_in_its_place_and_the_digest_is_of_what_is_stored
            a_head_beyond_the_end_or_longer_than_one_chunk_is_refused
            an_id_is_never_overwritten
            of_two_writers_of_one_id_at_most_one_wins_and_leaves_a_whole_file
            many_files_are_written_at_once
            both_buckets_may_use_one_id
            a_finish_nobody_waits_for_ends_whole_or_not_at_all
            an_aborted_file_was_never_there
            a_dropped_writer_takes_its_parts_back
            a_write_that_is_dropped_spoils_the_file
            a_file_deleted_while_it_is_written_does_not_come_back
            an_absent_file_is_none
            a_range_gives_its_bytes_and_no_others
            a_file_of_64_mebibytes_streams_in_small_pieces
            a_stream_may_be_dropped
            deleting_is_idempotent
            our_files_are_listed_in_pages_and_counted
            an_unfinished_file_is_listed_until_it_is_finished
            unfinished_files_are_listed_in_pages
            the_space_is_told
            the_store_answers
        }
    };
    ($factory:path: $($behaviour:ident)*) => {
        $(
            #[tokio::test]
            async fn $behaviour() {
                let (store, _place) = $factory().await;
                $crate::conformance::blobs::$behaviour(&store).await;
            }
        )*
    };
}

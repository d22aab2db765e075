//! Job records: the suite against both adapters, and what each of them adds.

mod mongodb;
mod sqlite;

/// SQL and BSON: what [`testkit::conformance::jobs::Ageing`] moves, in each step's own fields.
const TIMES: [&str; 8] = [
    "created_at",
    "finished_at",
    "upload_lease_until",
    "announcement_owed_at",
    "convert.due_at",
    "convert.lease_until",
    "tell.due_at",
    "tell.lease_until",
];

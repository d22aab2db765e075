-- Job records. Times are milliseconds since 1970 by this machine's clock, ids 24 hexadecimal digits. What is due at
-- once is due since 1970, so that a clock that is set back does not put it off.

CREATE TABLE IF NOT EXISTS jobs (
    id                      TEXT PRIMARY KEY,
    owner                   TEXT NOT NULL,
    -- The owner in ASCII lower case: what equal addresses share.
    owner_key               TEXT NOT NULL,
    state                   TEXT NOT NULL CHECK (state IN
        ('receiving', 'queued', 'converting', 'done', 'failed', 'dead', 'cancelled')),
    progress                REAL NOT NULL DEFAULT 0,
    filename                TEXT,
    size_bytes              INTEGER,
    options                 TEXT NOT NULL DEFAULT '{}',
    mp3_fid                 TEXT,
    mp3_size_bytes          INTEGER,
    mp3_duration_ms         INTEGER,
    mp3_notes               TEXT NOT NULL DEFAULT '[]',
    reason_code             TEXT,
    reason_message          TEXT,
    attempts                INTEGER NOT NULL DEFAULT 0,
    created_at              INTEGER NOT NULL,
    updated_at              INTEGER NOT NULL,
    -- When the video was known to be whole: without it the job can never be converted.
    uploaded_at             INTEGER,
    finished_at             INTEGER,
    -- Set when the MP3 is done and the video may go.
    video_unneeded          INTEGER NOT NULL DEFAULT FALSE,
    -- What the owner calls the upload, and the digest by which its repetition is recognised.
    idempotency_key         TEXT,
    video_sha256            TEXT,
    -- The upload's place in a trace, as the header traceparent says it.
    trace                   TEXT,

    upload_lease_until      INTEGER CHECK ((upload_lease_until IS NOT NULL) = (state = 'receiving')),

    -- Which announcement is owed, and since when.
    announcement            TEXT CHECK (announcement IN ('video', 'mp3')),
    announcement_owed_at    INTEGER CHECK ((announcement_owed_at IS NULL) = (announcement IS NULL)),

    convert_due_at          INTEGER CHECK ((convert_due_at IS NOT NULL) = (state IN ('queued', 'converting'))),
    convert_lease_until     INTEGER CHECK ((convert_lease_until IS NOT NULL) = (state = 'converting')),
    convert_fence           INTEGER NOT NULL DEFAULT 0,
    convert_failures        INTEGER NOT NULL DEFAULT 0,
    convert_lapses          INTEGER NOT NULL DEFAULT 0,
    convert_settled_fence   INTEGER,
    convert_settled_as      TEXT,
    -- Where the last attempt stored its MP3, and the one before.
    convert_attempt_fid     TEXT,
    convert_predecessor_fid TEXT,

    tell_due_at             INTEGER CHECK (tell_due_at IS NULL OR state IN ('done', 'failed', 'dead')),
    tell_lease_until        INTEGER CHECK (tell_lease_until IS NULL OR tell_due_at IS NOT NULL),
    tell_fence              INTEGER NOT NULL DEFAULT 0,
    tell_failures           INTEGER NOT NULL DEFAULT 0,
    tell_lapses             INTEGER NOT NULL DEFAULT 0,
    -- Set when a copy of the mail may have arrived.
    tell_in_doubt           INTEGER NOT NULL DEFAULT FALSE,
    tell_settled_fence      INTEGER,
    tell_settled_as         TEXT
) STRICT, WITHOUT ROWID;

-- Every id an attempt was to store its MP3 under.
CREATE TABLE IF NOT EXISTS attempts (
    mp3_fid TEXT PRIMARY KEY,
    job_id  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Until when somebody is taken to be at work on a step.
CREATE TABLE IF NOT EXISTS charges (
    step  TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (owner_key, id);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_key ON jobs (owner_key, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, id);
CREATE INDEX IF NOT EXISTS jobs_by_mp3 ON jobs (mp3_fid, created_at, id) WHERE mp3_fid IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_receiving ON jobs (created_at, id, upload_lease_until)
    WHERE upload_lease_until IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_unannounced ON jobs (announcement, announcement_owed_at, id)
    WHERE announcement IS NOT NULL;
-- Finished jobs are in neither of these two, so looking for work costs the same after a million of them.
CREATE INDEX IF NOT EXISTS jobs_to_convert ON jobs (created_at, id, convert_due_at, convert_lease_until)
    WHERE convert_due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_to_tell ON jobs (created_at, id, tell_due_at, tell_lease_until)
    WHERE tell_due_at IS NOT NULL;

-- The one clock of leases and due times; it stands still within a statement.
CREATE VIEW IF NOT EXISTS clock AS
    SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) AS now_ms;

PRAGMA user_version = 6;

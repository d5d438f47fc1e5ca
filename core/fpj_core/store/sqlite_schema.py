"""The SQLite schema. Collections are numbered, so that a million rows do not repeat a name."""

SCHEMA_VERSION = 8

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE collections (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source TEXT,
    requested TEXT
);

CREATE TABLE images (
    collection INTEGER NOT NULL, ordinal INTEGER NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL,
    size INTEGER NOT NULL, version TEXT NOT NULL, deleted INTEGER NOT NULL,
    width INTEGER, height INTEGER, format TEXT, thumbhash BLOB, dominant_color TEXT, warning TEXT,
    captured_at TEXT, deleted_at REAL,
    PRIMARY KEY (collection, ordinal)
) WITHOUT ROWID;
CREATE UNIQUE INDEX images_by_key ON images (collection, key);
CREATE INDEX images_deleted ON images (collection, ordinal) WHERE deleted;

CREATE TABLE names (
    collection INTEGER NOT NULL, name TEXT NOT NULL, image TEXT NOT NULL,
    PRIMARY KEY (collection, name)
) WITHOUT ROWID;

CREATE TABLE derivatives (
    collection INTEGER NOT NULL, ordinal INTEGER NOT NULL, tier TEXT NOT NULL, image TEXT NOT NULL,
    digest TEXT NOT NULL, source_version TEXT NOT NULL, folder TEXT NOT NULL, path TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL,
    job TEXT NOT NULL, fence INTEGER NOT NULL, created_at REAL NOT NULL,
    cost_ms INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (collection, ordinal, tier)
) WITHOUT ROWID;

CREATE TABLE removals (
    collection INTEGER NOT NULL, ordinal INTEGER NOT NULL, tier TEXT NOT NULL, folder TEXT NOT NULL,
    path TEXT NOT NULL, bytes INTEGER NOT NULL, reason TEXT NOT NULL, started_at REAL NOT NULL,
    PRIMARY KEY (collection, ordinal, tier, folder, path)
) WITHOUT ROWID;
CREATE INDEX removals_by_folder ON removals (folder, bytes);

CREATE TABLE reservations (
    folder TEXT NOT NULL, holder TEXT NOT NULL, bytes INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (folder, holder)
) WITHOUT ROWID;

CREATE TABLE counters (
    folder TEXT NOT NULL, collection INTEGER NOT NULL, tier TEXT NOT NULL,
    files INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (folder, collection, tier)
) WITHOUT ROWID;
CREATE INDEX counters_by_collection ON counters (collection);
CREATE TABLE image_counters (
    collection INTEGER PRIMARY KEY, files INTEGER NOT NULL, bytes INTEGER NOT NULL
);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY, collection TEXT NOT NULL, created_at REAL NOT NULL,
    version INTEGER NOT NULL,
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX jobs_by_age ON jobs (created_at);
CREATE INDEX jobs_by_collection ON jobs (collection, created_at);

CREATE TABLE shards (
    job TEXT NOT NULL, attempt INTEGER NOT NULL, idx INTEGER NOT NULL, collection TEXT NOT NULL,
    start INTEGER NOT NULL, stop INTEGER NOT NULL, cursor INTEGER NOT NULL,
    state TEXT NOT NULL, epoch INTEGER NOT NULL, holder TEXT, heartbeat_at REAL NOT NULL,
    completed INTEGER NOT NULL, skipped INTEGER NOT NULL, failed INTEGER NOT NULL,
    bytes_written INTEGER NOT NULL, processing_ms REAL NOT NULL, errors TEXT NOT NULL,
    PRIMARY KEY (job, attempt, idx)
) WITHOUT ROWID;

CREATE TABLE job_state (
    job TEXT PRIMARY KEY, epoch INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0,
    reported_at REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE failures (
    job TEXT NOT NULL, ordinal INTEGER NOT NULL, collection TEXT NOT NULL, image TEXT NOT NULL,
    key TEXT NOT NULL,
    error_type TEXT NOT NULL, message TEXT NOT NULL, attempts INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (job, ordinal)
) WITHOUT ROWID;

CREATE TABLE leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, fence INTEGER NOT NULL, expires_at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE folders (
    name TEXT PRIMARY KEY, location TEXT NOT NULL, priority INTEGER NOT NULL, max_bytes INTEGER,
    files INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
    collections INTEGER NOT NULL DEFAULT 0,
    layout TEXT NOT NULL DEFAULT 'Hashed', mirrored TEXT, reach TEXT, policy TEXT
) WITHOUT ROWID;
"""

MIGRATIONS = {
    1: """
ALTER TABLE shards RENAME TO shards_of_before;

CREATE TABLE shards (
    job TEXT NOT NULL, attempt INTEGER NOT NULL, idx INTEGER NOT NULL, collection TEXT NOT NULL,
    start INTEGER NOT NULL, stop INTEGER NOT NULL, cursor INTEGER NOT NULL,
    state TEXT NOT NULL, epoch INTEGER NOT NULL, holder TEXT, heartbeat_at REAL NOT NULL,
    completed INTEGER NOT NULL, skipped INTEGER NOT NULL, failed INTEGER NOT NULL,
    bytes_written INTEGER NOT NULL, processing_ms REAL NOT NULL, errors TEXT NOT NULL,
    PRIMARY KEY (job, attempt, idx)
) WITHOUT ROWID;

INSERT INTO shards
    SELECT s.job, coalesce(json_extract(j.document, '$.planned_attempt'), 0), s.idx, s.collection,
        s.start, s.stop, s.cursor, s.state, s.epoch + 1, s.holder, s.heartbeat_at,
        s.completed, s.skipped, s.failed, s.bytes_written, s.processing_ms, s.errors
    FROM shards_of_before s LEFT JOIN jobs j ON j.id = s.job;

DROP TABLE shards_of_before;

UPDATE jobs SET document = json_set(
    document, '$.planned_shards', (SELECT count(*) FROM shards WHERE job = jobs.id)
);

ALTER TABLE job_state ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0;

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE counters (
    folder TEXT NOT NULL, collection INTEGER NOT NULL, tier TEXT NOT NULL,
    files INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (folder, collection, tier)
) WITHOUT ROWID;

CREATE INDEX counters_by_collection ON counters (collection);

CREATE TABLE image_counters (
    collection INTEGER PRIMARY KEY, files INTEGER NOT NULL, bytes INTEGER NOT NULL
);

INSERT INTO counters
    SELECT folder, collection, tier, count(*), sum(bytes) FROM derivatives GROUP BY 1, 2, 3;

INSERT INTO image_counters
    SELECT collection, count(*), sum(size) FROM images WHERE NOT deleted GROUP BY 1
""",
    2: "ALTER TABLE collections ADD COLUMN source TEXT",
    3: "ALTER TABLE images ADD COLUMN captured_at TEXT",
    4: """
CREATE TABLE names (
    collection INTEGER NOT NULL, name TEXT NOT NULL, image TEXT NOT NULL,
    PRIMARY KEY (collection, name)
) WITHOUT ROWID;

ALTER TABLE folders ADD COLUMN layout TEXT NOT NULL DEFAULT 'Hashed';

ALTER TABLE folders ADD COLUMN mirrored TEXT
""",
    5: "ALTER TABLE folders ADD COLUMN reach TEXT",
    6: """
ALTER TABLE images ADD COLUMN deleted_at REAL;

CREATE INDEX images_deleted ON images (collection, ordinal) WHERE deleted;

ALTER TABLE collections ADD COLUMN requested TEXT;

CREATE TABLE removals (
    collection INTEGER NOT NULL, ordinal INTEGER NOT NULL, tier TEXT NOT NULL, folder TEXT NOT NULL,
    path TEXT NOT NULL, bytes INTEGER NOT NULL, reason TEXT NOT NULL, started_at REAL NOT NULL,
    PRIMARY KEY (collection, ordinal, tier, folder, path)
) WITHOUT ROWID
""",
    7: """
ALTER TABLE derivatives ADD COLUMN cost_ms INTEGER NOT NULL DEFAULT 0;

ALTER TABLE folders ADD COLUMN policy TEXT;

CREATE INDEX removals_by_folder ON removals (folder, bytes);

CREATE TABLE reservations (
    folder TEXT NOT NULL, holder TEXT NOT NULL, bytes INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (folder, holder)
) WITHOUT ROWID
""",
}
"""By version, what leads to the next.

Shards of version 1 are those of the job's planned attempt.
"""

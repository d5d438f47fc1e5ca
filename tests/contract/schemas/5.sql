PRAGMA user_version = 5;
BEGIN TRANSACTION;
CREATE TABLE collections (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source TEXT);
INSERT INTO "collections" VALUES(1,'holiday',NULL);
INSERT INTO "collections" VALUES(2,'album','folder /album');
CREATE TABLE counters (
    folder TEXT NOT NULL, collection INTEGER NOT NULL, tier TEXT NOT NULL,
    files INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (folder, collection, tier)
) WITHOUT ROWID;
INSERT INTO "counters" VALUES('cache',1,'full',6,60);
INSERT INTO "counters" VALUES('cache',1,'thumbnail',1,3);
CREATE TABLE derivatives (
    collection INTEGER NOT NULL, ordinal INTEGER NOT NULL, tier TEXT NOT NULL, image TEXT NOT NULL,
    digest TEXT NOT NULL, source_version TEXT NOT NULL, folder TEXT NOT NULL, path TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL,
    job TEXT NOT NULL, fence INTEGER NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (collection, ordinal, tier)
) WITHOUT ROWID;
INSERT INTO "derivatives" VALUES(1,0,'full','d3d2a8b326d4aa240c081c627d2f1e94','d1','v1','cache','holiday/full/d3/d3d2a8b326d4aa240c081c627d2f1e94.jpg',4,3,10,'job-1',1,1.0);
INSERT INTO "derivatives" VALUES(1,1,'full','47c42b0c30244ee02f85aa1e2a052275','d1','v1','cache','holiday/full/47/47c42b0c30244ee02f85aa1e2a052275.jpg',4,3,10,'job-1',1,1.0);
INSERT INTO "derivatives" VALUES(1,2,'full','274b1d72468944dc1f276672913a186a','d1','v1','cache','holiday/full/27/274b1d72468944dc1f276672913a186a.jpg',4,3,10,'job-1',1,1.0);
INSERT INTO "derivatives" VALUES(1,3,'full','cef3ee91c71ee8aff1787071ec9a9644','d1','v1','cache','holiday/full/ce/cef3ee91c71ee8aff1787071ec9a9644.jpg',4,3,10,'job-1',1,1.0);
INSERT INTO "derivatives" VALUES(1,5,'full','06128879b2a390c11967951d8ae3f9c4','d1','v1','cache','holiday/full/06/06128879b2a390c11967951d8ae3f9c4.jpg',4,3,10,'job-1',1,1.0);
INSERT INTO "derivatives" VALUES(1,6,'full','a3237c607f95f173fe95ae753a206eb8','d1','v1','cache','holiday/full/a3/a3237c607f95f173fe95ae753a206eb8.jpg',4,3,10,'job-1',1,1.0);
INSERT INTO "derivatives" VALUES(1,6,'thumbnail','a3237c607f95f173fe95ae753a206eb8','d1','v1','cache','holiday/thumbnail/a3/a3237c607f95f173fe95ae753a206eb8.jpg',4,3,3,'job-1',1,1.0);
CREATE TABLE failures (
    job TEXT NOT NULL, ordinal INTEGER NOT NULL, collection TEXT NOT NULL, image TEXT NOT NULL, key TEXT NOT NULL,
    error_type TEXT NOT NULL, message TEXT NOT NULL, attempts INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (job, ordinal)
) WITHOUT ROWID;
INSERT INTO "failures" VALUES('job-1',4,'holiday','c869bb0002e10aa07574d74861075116','p4.jpg','TooLarge','cut off',1,2.0);
CREATE TABLE folders (
    name TEXT PRIMARY KEY, location TEXT NOT NULL, priority INTEGER NOT NULL, max_bytes INTEGER,
    files INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, collections INTEGER NOT NULL DEFAULT 0
, layout TEXT NOT NULL DEFAULT 'Hashed', mirrored TEXT) WITHOUT ROWID;
INSERT INTO "folders" VALUES('cache','/cache',2,1000000000,7,63,1,'Hashed',NULL);
CREATE TABLE image_counters (
    collection INTEGER PRIMARY KEY, files INTEGER NOT NULL, bytes INTEGER NOT NULL
);
INSERT INTO "image_counters" VALUES(1,11,1155);
INSERT INTO "image_counters" VALUES(2,1,100);
CREATE TABLE images (
    collection INTEGER NOT NULL, ordinal INTEGER NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL,
    size INTEGER NOT NULL, version TEXT NOT NULL, deleted INTEGER NOT NULL,
    width INTEGER, height INTEGER, format TEXT, thumbhash BLOB, dominant_color TEXT, warning TEXT, captured_at TEXT,
    PRIMARY KEY (collection, ordinal)
) WITHOUT ROWID;
INSERT INTO "images" VALUES(1,0,'d3d2a8b326d4aa240c081c627d2f1e94','p0.jpg',100,'v1',0,40,30,'jpeg',X'0102','#aabbcc',NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(1,1,'47c42b0c30244ee02f85aa1e2a052275','p1.jpg',101,'v1',0,40,30,'jpeg',X'0102','#aabbcc',NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(1,2,'274b1d72468944dc1f276672913a186a','p2.jpg',102,'v1',0,40,30,'jpeg',X'0102','#aabbcc',NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(1,3,'cef3ee91c71ee8aff1787071ec9a9644','p3.jpg',103,'v1',0,40,30,'jpeg',X'0102','#aabbcc',NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(1,4,'c869bb0002e10aa07574d74861075116','p4.jpg',104,'v1',0,40,30,'jpeg',X'0102','#aabbcc',NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(1,5,'06128879b2a390c11967951d8ae3f9c4','p5.jpg',105,'v1',0,40,30,'jpeg',X'0102','#aabbcc',NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(1,6,'a3237c607f95f173fe95ae753a206eb8','p6.jpg',106,'v1',0,40,30,'jpeg',X'0102','#aabbcc',NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(1,7,'ecc482349111973fc502078230266332','p7.jpg',107,'v1',0,NULL,NULL,NULL,NULL,NULL,NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(1,8,'6e6552269740b5a183a5fa45ba0cb227','p8.jpg',108,'v1',0,NULL,NULL,NULL,NULL,NULL,NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(1,9,'9dd381454bfd25d12f468b9e0adeba3d','p9.jpg',109,'v1',0,NULL,NULL,NULL,NULL,NULL,NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(1,10,'8d7db95635a1bd1c7076f1b23d4f569e','p10.jpg',110,'v1',0,NULL,NULL,NULL,NULL,NULL,NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(1,11,'0fb6eb88fa6d17f9f0d1a1222d8b79e8','p11.jpg',111,'v1',1,NULL,NULL,NULL,NULL,NULL,NULL,'2024-05-01T12:30:00');
INSERT INTO "images" VALUES(2,0,'6400768acc36576679c9a05780243d6b','p0.jpg',100,'v1',0,NULL,NULL,NULL,NULL,NULL,NULL,'2024-05-01T12:30:00');
CREATE TABLE job_state (
    job TEXT PRIMARY KEY, epoch INTEGER NOT NULL DEFAULT 0, reported_at REAL NOT NULL DEFAULT 0
, attempt INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO "job_state" VALUES('job-1',1,104.0,0);
INSERT INTO "job_state" VALUES('local-1',1,0.0,0);
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, collection TEXT NOT NULL, created_at REAL NOT NULL, version INTEGER NOT NULL,
    document TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "jobs" VALUES('job-1','holiday',1.0,1,'{"id":"job-1","name":"name-job-1","collection":"holiday","manifest":{"spec":{"jobType":"Both"}},"digest":"digest","phase":"Running","stage":"","reason":"","message":"","total":11,"base":{"completed":0,"skipped":1,"failed":0,"bytes_written":0,"processing_ms":0.0,"errors":{}},"recovery_attempts":0,"created_at":1.0,"started_at":1.5,"finished_at":null,"last_progress_at":null,"last_progress_done":0,"active_seconds":0.0,"running_since":2.0,"planning_attempt":2,"stages":{"Index":1.5},"planned_attempt":2,"version":1,"planned_shards":2}');
INSERT INTO "jobs" VALUES('local-1','album',2.0,1,'{"id":"local-1","name":"name-local-1","collection":"album","manifest":{"spec":{"jobType":"Both"}},"digest":"digest","phase":"Completed","stage":"","reason":"","message":"","total":1,"base":{"completed":0,"skipped":0,"failed":0,"bytes_written":0,"processing_ms":0.0,"errors":{}},"recovery_attempts":0,"created_at":2.0,"started_at":null,"finished_at":9.0,"last_progress_at":null,"last_progress_done":0,"active_seconds":0.0,"running_since":null,"planning_attempt":0,"stages":{},"planned_attempt":0,"version":1,"planned_shards":0}');
CREATE TABLE leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, fence INTEGER NOT NULL, expires_at REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "leases" VALUES('cache-gen-bba6753bc4b6d1c595e6','job-1',1,160.0);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('identity','36d753ca673e46aa8b92352ba0ea08dc');
CREATE TABLE names (
    collection INTEGER NOT NULL, name TEXT NOT NULL, image TEXT NOT NULL, PRIMARY KEY (collection, name)
) WITHOUT ROWID;
CREATE TABLE shards (
    job TEXT NOT NULL, attempt INTEGER NOT NULL, idx INTEGER NOT NULL, collection TEXT NOT NULL,
    start INTEGER NOT NULL, stop INTEGER NOT NULL, cursor INTEGER NOT NULL,
    state TEXT NOT NULL, epoch INTEGER NOT NULL, holder TEXT, heartbeat_at REAL NOT NULL,
    completed INTEGER NOT NULL, skipped INTEGER NOT NULL, failed INTEGER NOT NULL,
    bytes_written INTEGER NOT NULL, processing_ms REAL NOT NULL, errors TEXT NOT NULL,
    PRIMARY KEY (job, attempt, idx)
) WITHOUT ROWID;
INSERT INTO "shards" VALUES('job-1',2,0,'holiday',0,5,5,'Succeeded',3,'pod-0',102.0,4,0,1,40,2.5,'{"TooLarge": 1}');
INSERT INTO "shards" VALUES('job-1',2,1,'holiday',5,10,7,'Running',3,'pod-1',104.0,2,0,0,20,0.0,'{}');
CREATE UNIQUE INDEX images_by_key ON images (collection, key);
CREATE INDEX jobs_by_age ON jobs (created_at);
CREATE INDEX jobs_by_collection ON jobs (collection, created_at);
CREATE INDEX counters_by_collection ON counters (collection);
COMMIT;

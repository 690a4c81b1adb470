-- Who works, what all share, what is told: everything but tasks and what is counted of them.
CREATE TABLE workers (
  id text COLLATE "C" PRIMARY KEY, started_at bigint NOT NULL, beat_at bigint NOT NULL,
  dead_at bigint, left_at bigint, label text NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE documents (
  key text COLLATE "C" PRIMARY KEY, version bigint NOT NULL, body text NOT NULL
) WITH (fillfactor = 70);

-- Numbers without gaps: two who append at once are given one, and the second is made again.
CREATE TABLE audit (
  n bigint PRIMARY KEY,
  writer text COLLATE "C" NOT NULL, seq bigint NOT NULL, at bigint NOT NULL, body text NOT NULL,
  hash text NOT NULL,
  UNIQUE (writer, seq)
);

-- Only a delivery that waits has a due_at: the index knows no other, and it goes by place, so that
-- what waits for a busy place is stepped over at once.
CREATE TABLE deliveries (
  task bigint NOT NULL, version bigint NOT NULL, place text COLLATE "C" NOT NULL,
  ended text NOT NULL, cause text, class text, answered_by bigint, made_at bigint NOT NULL,
  state text NOT NULL, due_at bigint, tries bigint NOT NULL, settled_at bigint, said text,
  PRIMARY KEY (task, version)
) WITH (fillfactor = 70);
CREATE INDEX deliveries_due ON deliveries (place, due_at, task, version) WHERE due_at IS NOT NULL;

-- Counters have a row for each slot, so that transactions of several connections do not wait for
-- each other; who reads them adds the slots up.
CREATE TABLE delivery_counts (
  state text COLLATE "C" NOT NULL, slot smallint NOT NULL, n bigint NOT NULL,
  PRIMARY KEY (state, slot)
) WITH (fillfactor = 50);

-- Rises with every write that others should look at.
CREATE TABLE pulses (slot smallint PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);

-- The number of the last transaction of each connection that has written: whoever has lost the answer to
-- a commit looks here whether it was his.
CREATE TABLE marks (connection bigint PRIMARY KEY, number bigint NOT NULL, at bigint NOT NULL)
  WITH (fillfactor = 50);

-- The number of the newest event. Whoever writes events takes their numbers here as its last
-- step: the lock is held through the commit, so numbers become visible in their order.
CREATE TABLE event_numbers (is_the_one boolean PRIMARY KEY CHECK (is_the_one), last bigint NOT NULL)
  WITH (fillfactor = 50);
INSERT INTO event_numbers VALUES (true, 0);

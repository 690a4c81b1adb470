-- Tasks with all that is theirs, and what is counted and told of them.
--
-- `ready` is true for a task that may be claimed, false for one that waits until `due_at`, and
-- absent for all others (leased, held, dead, ...): claim's two indexes know no other rows. `idle` is
-- the state of a task that has no attempt under way, `at_rest` that of the dead and the buried. All
-- of these and `lane` are derived from the row and never read back.
--
-- An update that changes no column of any index stays on its page and costs no index an entry: so
-- no index knows `state` or `upstream_id`, and an acceptance is such an update. Room for it is left.
--
-- Texts compare by their bytes, as they do in every other store.

CREATE TABLE tasks (
  id bigint PRIMARY KEY,
  owner text COLLATE "C", idempotency_key text COLLATE "C", idempotency_expires_at bigint,
  place text COLLATE "C", created_at bigint NOT NULL,
  method text COLLATE "C" NOT NULL, sitekey text COLLATE "C", host text COLLATE "C",
  proxy text COLLATE "C", batch text COLLATE "C", tags text COLLATE "C",
  state text COLLATE "C" NOT NULL, why text COLLATE "C", reason text COLLATE "C",
  due_at bigint, upstream_id text COLLATE "C",
  ready boolean, lane text COLLATE "C" NOT NULL, idle text COLLATE "C", at_rest text COLLATE "C",
  version bigint NOT NULL, account text COLLATE "C" NOT NULL, worker text COLLATE "C",
  attempt bigint, priority smallint NOT NULL, turn bigint NOT NULL, hold text COLLATE "C",
  deadline_at bigint,
  attempts integer NOT NULL, submits integer NOT NULL, failures integer NOT NULL,
  refusals integer NOT NULL, panics integer NOT NULL, redrives integer NOT NULL,
  deaths integer NOT NULL,
  round_allowance integer NOT NULL, round_failures integer NOT NULL,
  round_unsolvable integer NOT NULL, round_lost integer NOT NULL, round_refusals integer NOT NULL,
  round_proxies_failed integer NOT NULL,
  max_submits integer NOT NULL, proxies integer NOT NULL,
  cause text COLLATE "C", class text COLLATE "C", fingerprint text COLLATE "C", parent bigint,
  answered_by bigint, verdict_read_at bigint, updated_at bigint NOT NULL
) WITH (
  fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX tasks_ready ON tasks (account, lane, priority, turn, due_at, id) WHERE ready;
CREATE INDEX tasks_waiting ON tasks (account, due_at) WHERE NOT ready;
CREATE INDEX tasks_deadline ON tasks (account, deadline_at, id)
  WHERE due_at IS NOT NULL AND deadline_at IS NOT NULL;
CREATE INDEX tasks_live ON tasks (worker, id) WHERE attempt IS NOT NULL;
CREATE INDEX tasks_idle ON tasks (idle, id) WHERE idle IS NOT NULL;
CREATE INDEX tasks_dead_cause ON tasks (at_rest, cause, id) WHERE at_rest IS NOT NULL;
CREATE INDEX tasks_dead_sitekey ON tasks (at_rest, sitekey, id) WHERE at_rest IS NOT NULL;
CREATE INDEX tasks_dead_both ON tasks (at_rest, cause, sitekey, id) WHERE at_rest IS NOT NULL;
CREATE INDEX tasks_batch ON tasks (batch, id) WHERE batch IS NOT NULL;

CREATE TABLE idempotency (
  owner text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, task bigint NOT NULL,
  expires_at bigint,
  PRIMARY KEY (owner, key)
);

CREATE TABLE requests (task bigint PRIMARY KEY, body text NOT NULL);

-- An attempt is open, or it is past: what is asked all the time (permits, ids that are polled) is asked
-- of the few that are open, whatever number of others there is.
--
-- `namesake` is 0 but for an attempt whose upstream id an earlier open one of its task has: so the
-- unique index refuses that two tasks have the same id open at a time, whoever commits first.
--
-- Each question has one index alone that it can use (so two of these are partial): the server believes
-- of a table that is empty now and then that it always is, and takes any.
CREATE TABLE open_attempts (
  task bigint NOT NULL, token bigint NOT NULL, n integer NOT NULL,
  account text COLLATE "C" NOT NULL, worker text COLLATE "C", intent_at bigint NOT NULL,
  upstream_id text COLLATE "C", namesake bigint NOT NULL,
  accepted_at bigint, resumed_at bigint, abandoned_at bigint, closed_at bigint,
  verdict text COLLATE "C", cause text COLLATE "C", class text COLLATE "C", detail text,
  permit boolean NOT NULL, permit_until bigint,
  PRIMARY KEY (task, token)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX open_attempts_permits ON open_attempts (account) WHERE permit;
CREATE INDEX open_attempts_lapsing ON open_attempts (account, permit_until)
  WHERE permit_until IS NOT NULL;
CREATE UNIQUE INDEX open_attempts_upstream ON open_attempts (account, upstream_id, namesake)
  WHERE upstream_id IS NOT NULL;

-- The closed ones lie in a partition for each day on which ids were chosen, which goes as a whole when
-- no task of that day stands. Partitions are made ahead; what fits none lies in the last of these.
CREATE TABLE past_attempts (
  task bigint NOT NULL, token bigint NOT NULL, n integer NOT NULL,
  account text COLLATE "C" NOT NULL, worker text COLLATE "C", intent_at bigint NOT NULL,
  upstream_id text COLLATE "C",
  accepted_at bigint, resumed_at bigint, abandoned_at bigint, closed_at bigint,
  verdict text COLLATE "C", cause text COLLATE "C", class text COLLATE "C", detail text,
  permit boolean NOT NULL, permit_until bigint,
  PRIMARY KEY (task, token)
) PARTITION BY RANGE (task);
CREATE INDEX past_attempts_upstream ON past_attempts (account, upstream_id)
  WHERE upstream_id IS NOT NULL;
CREATE TABLE past_attempts_other PARTITION OF past_attempts DEFAULT;
-- A partition for the days before the store was made, when it is known which day that is.
CREATE TABLE past_attempts_before (LIKE past_attempts INCLUDING ALL);

-- All of them. What a purge has left of a task waits for its partition to go, and nobody sees it.
CREATE VIEW attempts AS
  SELECT task, token, n, account, worker, intent_at, upstream_id, accepted_at, resumed_at,
    abandoned_at, closed_at, verdict, cause, class, detail, permit, permit_until
  FROM open_attempts
  UNION ALL
  SELECT task, token, n, account, worker, intent_at, upstream_id, accepted_at, resumed_at,
    abandoned_at, closed_at, verdict, cause, class, detail, permit, permit_until
  FROM past_attempts
  WHERE EXISTS (SELECT 1 FROM tasks WHERE tasks.id = ANY (ARRAY[past_attempts.task]));

CREATE TABLE answers (
  task bigint NOT NULL, token bigint NOT NULL, dialect text NOT NULL, raw text NOT NULL,
  text text NOT NULL, user_agent text, solved_at bigint NOT NULL, expires_at bigint,
  read_at bigint NOT NULL,
  PRIMARY KEY (task, token)
);

CREATE TABLE events (
  seq bigint PRIMARY KEY, task bigint NOT NULL, at bigint NOT NULL,
  state text COLLATE "C" NOT NULL, reason text COLLATE "C", cause text COLLATE "C",
  answered_by bigint
);
CREATE INDEX events_task ON events (task, seq);

-- A count is the sum over its slots: whoever writes adds to the slot that is his, so that two who
-- write at once do not wait for each other.
CREATE TABLE standing (
  dim text COLLATE "C" NOT NULL, place text COLLATE "C" NOT NULL, cause text COLLATE "C" NOT NULL,
  class text COLLATE "C" NOT NULL, value text COLLATE "C" NOT NULL, slot smallint NOT NULL,
  n bigint NOT NULL,
  PRIMARY KEY (dim, place, cause, class, value, slot)
) WITH (fillfactor = 50);

CREATE TABLE tallies (
  dim text COLLATE "C" NOT NULL, minute bigint NOT NULL, tallied text COLLATE "C" NOT NULL,
  cause text COLLATE "C" NOT NULL, value text COLLATE "C" NOT NULL, slot smallint NOT NULL,
  n bigint NOT NULL,
  PRIMARY KEY (dim, minute, tallied, cause, value, slot)
) WITH (fillfactor = 50);

CREATE TABLE operation_items (
  operation text COLLATE "C" NOT NULL, task bigint NOT NULL, version bigint NOT NULL,
  state text COLLATE "C" NOT NULL,
  PRIMARY KEY (operation, task)
);
CREATE INDEX operation_items_pending ON operation_items (operation, task)
  WHERE state = 'pending';
CREATE INDEX operation_items_task ON operation_items (task);

CREATE TABLE item_counts (
  operation text COLLATE "C" NOT NULL, state text COLLATE "C" NOT NULL, slot smallint NOT NULL,
  n bigint NOT NULL,
  PRIMARY KEY (operation, state, slot)
);

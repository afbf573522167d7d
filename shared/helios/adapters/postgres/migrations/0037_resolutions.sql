-- What people decide about flow instances. All of it is removed with its instance, by retention and by an erasure.

-- One row for each step of a person, which may concern thousands of instances.
CREATE TABLE resolution_actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    step text NOT NULL CHECK (step IN ('assign', 'note', 'accept', 'write_off', 'reopen', 'undo')),
    text text,
    assignee text,
    instances integer NOT NULL DEFAULT 0,
    skipped integer NOT NULL DEFAULT 0,
    undoes bigint REFERENCES resolution_actions ON DELETE SET NULL,
    undone_by bigint REFERENCES resolution_actions ON DELETE SET NULL
);
CREATE INDEX resolution_actions_at ON resolution_actions (at);
CREATE INDEX resolution_actions_undoes ON resolution_actions (undoes) WHERE undoes IS NOT NULL;
CREATE INDEX resolution_actions_undone_by ON resolution_actions (undone_by) WHERE undone_by IS NOT NULL;

-- The present state. The decision holds while the instance has the version that was decided on.
CREATE TABLE resolutions (
    flow text NOT NULL,
    key text NOT NULL,
    decision text CHECK (decision IN ('accepted', 'written_off')),
    decided_in bigint,  -- the action that decided, whose text is the reason
    version integer,
    assignee text,
    action bigint NOT NULL,  -- the last one that changed the row
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    PRIMARY KEY (flow, key),
    FOREIGN KEY (flow, key) REFERENCES flow_instances ON DELETE CASCADE,
    CHECK ((decision IS NULL) = (version IS NULL))
);

-- What each action changed, with the row of resolutions before it, by which it can be undone.
CREATE TABLE resolution_steps (
    action bigint NOT NULL REFERENCES resolution_actions ON DELETE CASCADE,
    flow text NOT NULL,
    key text NOT NULL,
    before json,
    PRIMARY KEY (flow, key, action),
    FOREIGN KEY (flow, key) REFERENCES flow_instances ON DELETE CASCADE
);
CREATE INDEX resolution_steps_action ON resolution_steps (action);

INSERT INTO role_grants VALUES
    ('helios_api', 'resolution_actions', 'SELECT, INSERT, UPDATE'),
    ('helios_api', 'resolutions', 'SELECT, INSERT, UPDATE, DELETE'),
    ('helios_api', 'resolution_steps', 'SELECT, INSERT');

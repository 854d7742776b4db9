"""The index: one SQLite file, made anew whenever it was made by another version of this file or with other texts."""

FORMAT = 2
RESPONSES_OF_A_GROUP = 4096
"""At most; a rollout's row is its group's key times this, plus its place."""

SCHEMA = """
CREATE TABLE made (row INTEGER PRIMARY KEY CHECK (row = 1), by TEXT NOT NULL, segment INTEGER NOT NULL,
    offset INTEGER NOT NULL);
CREATE TABLE groups (key INTEGER PRIMARY KEY, group_id TEXT NOT NULL UNIQUE, prompt_id TEXT NOT NULL,
    stage TEXT NOT NULL, source TEXT NOT NULL, problem TEXT NOT NULL, gold_answers TEXT NOT NULL,
    segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, step INTEGER,
    stale INTEGER NOT NULL DEFAULT 0);
CREATE TABLE rollouts (id INTEGER PRIMARY KEY, group_key INTEGER NOT NULL, verdict TEXT NOT NULL, rule TEXT NOT NULL,
    reward REAL NOT NULL, length INTEGER NOT NULL, finish TEXT NOT NULL, oldest INTEGER NOT NULL,
    newest INTEGER NOT NULL, extracted TEXT NOT NULL, terms TEXT NOT NULL);
CREATE INDEX groups_by_step ON groups (step);
CREATE INDEX rollouts_by_length ON rollouts (length);
CREATE INDEX rollouts_by_reward ON rollouts (reward);
CREATE TABLE texts (id INTEGER PRIMARY KEY, response TEXT NOT NULL);
CREATE VIRTUAL TABLE texts_index USING fts5(response, content='texts', content_rowid='id', tokenize='trigram',
    detail='none');
"""
DROP = """
DROP TABLE IF EXISTS made; DROP TABLE IF EXISTS groups; DROP TABLE IF EXISTS rollouts; DROP TABLE IF EXISTS texts_index;
DROP TABLE IF EXISTS texts;
"""

"""The replay buffer: the durable log of rollouts, and the write-ahead log of training.

From the disk up: `segments` (files of framed records), `log` (group commit over them), `events` (what the records
say), `drawing` (pure: which groups a step gets, which are too old), `retention` (pure: which segments may go),
`validation` (what a group has to satisfy), `wire` (groups as bytes), `reading_ahead` (batches off the disk), `buffer`
(all of these together), `service` (the RPCs).
"""

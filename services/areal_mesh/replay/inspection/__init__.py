"""A replay log as it lies in a folder, looked at from outside; nothing here opens a file to write it.

From the disk up: `scanning` (the records of a segment, damaged or not), `contents` (what they add up to: groups,
batches, ends), `reading` (a log's folder, its groups and the batches of its steps). A service may write the log
meanwhile: what it has not acknowledged yet may or may not be seen.
"""

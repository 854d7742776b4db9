"""Where a run's figures go beside its directory: one file a tracker, each behind `log(step, figures)` and `finish()`.

Trackers run in processes of their own (`follow`), which read `metrics.jsonl` as it grows: one that hangs on a network,
or fails, costs the run nothing. `table` names them all, `followers` starts and ends them.
"""

"""A library: the rollouts of a run for a person, from its directory alone, while the run goes on or after.

The replay log has them as tokens; an index in the run directory has their texts and verdicts, to be filtered and
searched. Nothing here needs a service or torch.
"""

"""A library: what a person sees of a run, made from its `metrics.jsonl` alone: curves, TensorBoard events.

The controller writes them into its run directory as the run goes on, `areal-mesh report` anew; neither needs torch.
"""

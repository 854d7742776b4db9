"""The constants of the model that are measured and not computed, by the system that they were measured on.

They are what `fit` makes of the published figures (`published`), starting from what the parts should take; a test fits
them anew and compares. Of this project's own engine and learner nothing has been measured on GPUs yet: a plan takes the
constants of the system whose way of working the settings name, or those of a run that was measured (`--calibrate`).
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Constants:
    """What the data sheets do not say."""

    host_seconds: float
    """Of an iteration of an engine: launching it, sampling, and scheduling the next, with CUDA graphs."""
    eager_host_seconds: float
    """The same without CUDA graphs, where generation and training share the GPUs."""
    training_share: float
    """Of the data sheet's operations a second that training reaches over all its passes, recomputed activations not
    counted as work."""
    fixed_seconds: float
    """Of a step, whatever its size: grading what came last, moving parameters and rollouts, saving."""


PRIOR = Constants(host_seconds=0.010, eager_host_seconds=0.022, training_share=0.25, fixed_seconds=30.0)
"""What the parts should take: ten CUDA graph launches and a Python scheduler's turn; 28 layers of some twelve kernels
at 60 us each; a quarter of the peak; half a minute. A fit leaves them only as far as the figures ask for it."""

CALIBRATIONS: Mapping[str, Constants] = {
    "areal-v0.1": Constants(0.0161, 0.0267, 0.328, 45.8),
    "areal-async": Constants(0.0052, 0.022, 0.379, 25.6),
}
"""`areal-v0.1`: AReaL v0.1 (vLLM 0.6, Megatron), synchronous; `areal-async`: the asynchronous paper's (SGLang)."""

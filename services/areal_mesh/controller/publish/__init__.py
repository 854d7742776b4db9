"""Publishing a version: when it is due (`policy`), one attempt at its members (`attempt`), the task that makes them."""

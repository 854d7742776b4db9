"""What every test shares."""

from hypothesis import settings

# How long an example takes is the machine's affair: speed is shown by benchmarks, never by a timed test.
settings.register_profile("mesh", deadline=None)
settings.load_profile("mesh")

"""Optimizers that torch lacks in the form that is wanted here: a library of the learner and of the recipes."""

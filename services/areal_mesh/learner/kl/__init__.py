"""The distance to the KL reference, as a reward or in the loss: one table of estimators, by name."""

"""Pure decisions with plain values, and what holds of the tree itself: no service, seconds."""

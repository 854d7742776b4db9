"""The page that shows runs: a small HTTP server on loopback, and in `static` what the browser runs.

It reads run directories and asks controllers for their status; nothing of a run changes by it. Text that a model wrote
leaves here as JSON and enters the page as text alone.
"""

"""A library: other people's data sets made into prompt files, and a report of what became of every line.

One format comes out: `id`, `problem`, `solutions` (any of which is right), `source` and, where the data say it,
`difficulty`. What is odd in a file is mended where that cannot change what a problem says, and named by its line where
it might. `stream` is the whole way; `named` has the data sets that are known by name.
"""

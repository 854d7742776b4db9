"""A library: rewards of the user's own. A function runs in a process of its own, with a deadline; a judge is asked
over HTTP.

`process` starts that process and asks it; `worker` is what runs in it, on the standard library alone; `trial` calls a
reward once, for `config check`.
"""

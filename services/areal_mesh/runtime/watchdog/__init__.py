"""Notices that a service gets nothing done, and says what it waits for and on whom.

`pace` and `stall` decide, `open_calls` knows what was asked of others and not answered, `stacks` writes down where
every thread and task stands, and `thread` looks once a second: apart from the event loop, which may be what hangs.
"""

"""The controller's RPC surface: groups of calls, each with what it uses and no more, behind one thin servicer.

A call decodes, asks the run and the roster, and answers. Long polls wait for changes, each with a deadline; no call
holds a lock, so leases go on while weights are published.
"""

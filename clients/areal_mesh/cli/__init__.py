"""The `areal-mesh` command: the composition root of the services, the launcher of a run on one machine, and its views.

A command's module is imported when the command is called, so that `status` answers without loading what `up` needs.
"""

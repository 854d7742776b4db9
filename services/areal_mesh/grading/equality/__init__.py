"""Whether two trees say the same, by rising cost.

`comparison` takes shapes apart and asks `scalars` for values; `scalars` asks `numeric` and `exact` (what the normal
forms of `forms` prove); what is left goes to `algebra`. The other modules are what is special to one kind of answer.
"""

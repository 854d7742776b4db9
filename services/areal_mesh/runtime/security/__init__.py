"""Who calls: certificates and the role in them, tokens of people, what each may do, and how often.

The decisions (`subject`, `tokens`, `authorization`, `rates`) are pure; `credentials` and `tokens` read their files anew
when they change. `authority` alone needs the package `cryptography`, and is imported by what makes or examines
certificates.
"""

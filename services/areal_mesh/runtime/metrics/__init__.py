"""What a service tells Prometheus: the table of its metrics, and the endpoint that shows them.

A service says what it does once, in the report of its heartbeat; `members` names each of these figures by Prometheus'
conventions, and `endpoint` shows the last report to whoever asks. What is counted call by call (`interceptors`, the
verifier's times) is in the client library's own registry and is shown beside it.
"""

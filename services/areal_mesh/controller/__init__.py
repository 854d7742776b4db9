"""The controller: the truth about one run, and every decision on its way.

Pure decisions live in `admission`, `schedule`, `membership` and `publishing`; what has been decided lies in `ledger`
(SQLite); `run` joins the two and is the only writer. `transfer` and `publisher` carry weights from the learner to the
generators, `replay_link` keeps the ledger and the replay buffer of one mind, and `servicer`, `status` and `service`
are the thin gRPC side.
"""

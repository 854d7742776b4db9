"""What a new user does, timed, and what a terminal shows: minutes, so `make test-user` and no part of `make test`."""

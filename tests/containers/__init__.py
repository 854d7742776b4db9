"""The mesh in containers, in a real Docker Engine; by `make test-compose` alone."""

"""One service or a few over real gRPC on port 0, with peers that keep the protocol without models."""

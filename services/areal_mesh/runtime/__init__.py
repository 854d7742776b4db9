"""What every service stands on: settings, identity, channels, server, registration, telemetry, supervision.

Imports nothing but the contracts in `areal_mesh.v1`, and never torch: the client is built from parts of it.
"""

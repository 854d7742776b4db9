"""The roles of the services, by the names that settings, commands and identities use. Needs no library."""

SERVICE_ROLES = ("controller", "generator", "verifier", "replay", "learner")

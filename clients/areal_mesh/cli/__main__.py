"""`python -m areal_mesh.cli`: the command without its script, as the launcher starts services."""

from areal_mesh.cli.main import main

if __name__ == "__main__":
    main()

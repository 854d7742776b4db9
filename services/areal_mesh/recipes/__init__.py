"""What a preset can make by itself: start models and made-up problems. Each recipe runs as `python -m`."""

"""Processes killed, files damaged, disks filled, messages made by an enemy."""

"""Hosts: one file each, which only translates between a host's words and `engine.run`."""

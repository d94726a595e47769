"""The papers, each in a package: its networks, its settings, its printed numbers."""

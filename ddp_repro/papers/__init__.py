"""The reproduced papers, a package for each."""

"""Do what committed records say again, and compare."""

"""What GenPercept costs: counted and measured."""

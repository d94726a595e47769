"""What DDP's sampling and training cost."""

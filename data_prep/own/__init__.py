"""Looking through a user's own images before training, and converting masks of colours."""

"""Claims of papers: what is compared, what the records say about it, and what is still to be trained."""

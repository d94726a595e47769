"""Papers: a folder each, with models, recipes, tables, figures, claims."""

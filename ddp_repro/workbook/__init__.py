"""Workbook: recipes, runs, records, tables and figures."""

"""What the workbook shows of DDPS: analyses, tables, figures."""

"""Tables: printed and measured side by side."""

"""Tables beyond the printed ones: ablations, costs, robustness, uncertainty."""

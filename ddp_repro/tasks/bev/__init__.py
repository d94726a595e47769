"""Map segmentation in bird's-eye view."""

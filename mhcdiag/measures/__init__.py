"""From residual mappings to numbers."""

"""From residual mappings to gains and their bounds, and from gains over steps to growth."""

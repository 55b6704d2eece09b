"""Small models whose residual topology is the only thing that differs, trained on a laptop."""

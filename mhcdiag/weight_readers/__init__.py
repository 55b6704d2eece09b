"""weight_readers."""

"""What weights beside the mixers say: norms, attention, gates of sites, captured activations."""

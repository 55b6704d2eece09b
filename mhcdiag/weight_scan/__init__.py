"""One pass over every value of a checkpoint, and the rules that say what is wrong with what it measured."""

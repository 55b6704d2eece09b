"""Results to text, one format a file; nothing here prints, exits or writes a file."""

"""Where the bytes of a checkpoint lie: this machine, or a server."""

"""From site parameters (and inputs) to residual mappings H_res[site, stream, stream, token], x_new = H x."""

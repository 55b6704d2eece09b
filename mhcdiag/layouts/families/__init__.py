"""The layouts: one family of implementations a file; `mhcdiag.layouts.LAYOUTS` lists them."""

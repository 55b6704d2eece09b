"""The health checks: one a file; `mhcdiag.health_checks.CHECKS` lists them."""

"""How runs are shown and compared."""

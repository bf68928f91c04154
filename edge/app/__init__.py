"""Puts the pieces together: one module per process. Only here is known which device is behind which port."""

"""Runtimes: what runs a finished model where nothing trains, in formats and kernels that others wrote."""

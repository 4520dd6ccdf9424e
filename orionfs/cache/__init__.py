"""Bytes on the local disk, and bringing what is missing of them."""

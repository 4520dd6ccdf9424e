"""Pure tables and rules of names, inodes, listings and changes; nothing here waits, or knows Orion."""

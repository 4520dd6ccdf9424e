"""The names: what is believed of them, asked of Orion, changed, and shown; all inodes are changed here."""

"""The session as async verbs: limits, deadlines, retries, health, and what its answers mean."""

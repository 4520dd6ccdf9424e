"""All that is on its way to Orion, in which order, and what is done when it fails."""

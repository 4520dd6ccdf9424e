"""The `user.orion.*` extended attributes: what they are called, what they say, who may change them."""

"""A session in another process that knows the documented calls and nothing else.

`client = "tests.documented.session:make_session"` in a profile makes the mount use it: what passes on
it needs nothing beyond what the vendor documents. Anything else is an AssertionError that names it.
"""

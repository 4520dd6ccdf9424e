"""The command `orionfs`: what people type, what they are told, and the exit statuses.

One module a command; what a command needs beyond configuration is imported when it runs, so that
`--help` is quick and the daemon, which is started through here, never loads the server. One door for
click and rich. Nothing below knows that there is a terminal.
"""

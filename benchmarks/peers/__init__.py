"""One module a system: what its worker runs, and how its producer submits.

Each has `open_producer()`, whose result has `submit(request)` (a coroutine function where `IS_ASYNC`) and
`close()`. They do nothing but the POST, through the same `RestClient`; `ours` does everything it ships with.
"""

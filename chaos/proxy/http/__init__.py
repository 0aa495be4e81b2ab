"""Requests through the built-in proxy, and the faults on them that bytes and connections cannot make.

A proxy made with `"http": true` leads its connections through a hop of its own, which reads them as HTTP/1.1:
`hop` takes them, a `conversation` serves the requests of one, `upload` brings each to the upstream and
`answering` its answer to the client. `exchange` is what a fault may do to one of each, `fault_set` says which
faults strike which request, and each file of `faults/` is one fault.
"""

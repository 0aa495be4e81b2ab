"""The built-in fault proxy: Toxiproxy's HTTP API v2 and its toxics, where no Toxiproxy is at hand.

`python -m chaos.proxy --host 127.0.0.1 --port 8474` behaves as Toxiproxy 2.12.0, held to it by one
conformance suite that runs against both. Where it departs, it does so on purpose:

- what would kill or wedge Toxiproxy is refused with 400: bandwidth `rate` below 1, slicer without
  `0 <= size_variation < average_size`, toxicity outside 0..1, attributes the toxic does not have;
- a refused update changes nothing, and removing a toxic never waits for a client that does not read;
- dialling the upstream has a time limit and holds up no other connection;
- a client that has sent all it will (half-close) still gets its answer;
- `reset_peer` resets connections that were open before it, and spares what toxicity spares;
- chance is drawn from `--seed`.
"""

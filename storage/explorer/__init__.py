"""The lineage explorer: a local web page over the snapshot, for reading only.

`storage.explorer.application` is what `starloop explore` serves; every page is made on the server from the one snapshot
that it holds, and a newer one is offered, never taken by itself.
"""

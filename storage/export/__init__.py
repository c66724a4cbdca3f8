"""What leaves the ledger for other tools: training sets as rows, lineage as OpenLineage events and as W3C PROV."""

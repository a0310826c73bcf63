"""From metrics and claims to cells, tables and one page: reads results, computes no network."""

"""The local clouds: a gateway, one engine, and a dialect for each vendor."""

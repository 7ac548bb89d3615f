"""Control plane, data plane and ingest: plain functions over ports, at home in AWS and in the hub."""

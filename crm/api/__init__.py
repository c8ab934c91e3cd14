"""The REST API: views that load by schema, call one domain, and dump."""

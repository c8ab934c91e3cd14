"""The REST API: views that load by schema, call one service, and dump."""

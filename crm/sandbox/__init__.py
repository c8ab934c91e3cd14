"""The door to the sandbox under its former name, for one release: it is ``hubspot_sandbox`` now."""

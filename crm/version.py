"""The version of this service, as it tells callers and HubSpot."""

VERSION = "1.0.1"

"""The version of this service, as it tells callers and HubSpot."""

VERSION = "0.1.0"

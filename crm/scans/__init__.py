"""Scans: all deals of a portal, pulled for an application with the token that it gave."""

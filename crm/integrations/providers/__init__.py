"""Providers of which a person can connect an account, spoken to over HTTP.

Knows neither Flask nor the database. To add one, write a module with a ``Provider``, name it here,
and give it its settings; docs/integrations.md is the recipe.
"""

from collections.abc import Mapping
from types import MappingProxyType

from crm.integrations.providers.airtable import Airtable
from crm.integrations.providers.hubspot import HubSpot
from crm.integrations.providers.notion import Notion
from crm.integrations.providers.provider import Provider

PROVIDERS: Mapping[str, type[Provider]] = MappingProxyType(
    {each.name: each for each in (HubSpot, Airtable, Notion)}
)
"""By name, in the order in which people are shown them."""

"""The ``flask`` commands, a module for each group of them."""

import click
from flask import Flask

from crm.cli.accounts import keys, organizations, tokens, users
from crm.cli.expose import expose
from crm.cli.hubspot import hubspot
from crm.cli.operations import check_health, worker
from crm.cli.postman import print_postman
from crm.cli.scan import scan
from crm.cli.sync import sync
from crm.cli.webhooks import webhooks


def register_commands(app: Flask) -> None:
    """Give the app its commands."""
    groups = (users, organizations, keys, tokens, hubspot, webhooks, sync, scan)
    for command in (*groups, worker, check_health, expose):
        app.cli.add_command(command)
    documents = app.cli.commands["openapi"]
    if isinstance(documents, click.Group):
        # flask-smorest's own, which prints the document.
        documents.add_command(print_postman)

"""``python -m crm.setup.demo_database``: makes the database of the demo, where that is the one."""

from contextlib import closing

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from crm.config import load_settings
from crm.setup.plan import DEMO_DATABASE


def make_demo_database(address: str) -> None:
    """Make the database of an address unless it is there; any other one is the operator's."""
    if parse_dsn(address).get("dbname") != DEMO_DATABASE:
        return
    with closing(psycopg2.connect(make_dsn(address, dbname="postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DEMO_DATABASE,))
            if not cursor.fetchall():
                cursor.execute(f"CREATE DATABASE {DEMO_DATABASE}")


if __name__ == "__main__":
    make_demo_database(load_settings().database_url)

"""``python -m crm.setup.demo_database``: makes the database of the demo, where that is the one."""

from contextlib import closing

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from crm.config import load_settings
from crm.setup.plan import DATABASE, DEMO_DATABASE


def main() -> None:
    """Make the database unless it is there; any other database is the operator's."""
    address = load_settings().database_url
    if parse_dsn(address)["dbname"] != DEMO_DATABASE:
        return
    with closing(psycopg2.connect(make_dsn(address, dbname=DATABASE))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DEMO_DATABASE,))
            if not cursor.fetchall():
                cursor.execute(f"CREATE DATABASE {DEMO_DATABASE}")


if __name__ == "__main__":
    main()

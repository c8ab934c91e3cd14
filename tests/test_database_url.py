"""DATABASE_URL, as others write it too: every driver of ours reaches the same database by it."""

from urllib.parse import quote

import psycopg
import psycopg2
import pytest
from procrastinate import PsycopgConnector
from psycopg2.extensions import parse_dsn
from sqlalchemy.engine import make_url

PASSWORD = "p@s/s:w+ü d%#?&="


@pytest.mark.parametrize("driver", ["", "+psycopg2", "+psycopg", "+asyncpg"])
def test_a_socket_and_an_odd_password_reach_every_driver_whichever_is_named(
    make_settings, make_app, driver
):
    # Of an embedded Postgres: its socket's folder stands in the query.
    address = make_settings().database_url
    query = address.partition("?")[2]
    given = f"postgresql{driver}://postgres:{quote(PASSWORD, safe='')}@/crm?{query}"

    settings = make_settings(DATABASE_URL=given)

    assert "host=" in query
    assert parse_dsn(settings.database_url)["password"] == PASSWORD
    assert make_url(settings.sqlalchemy_url).password == PASSWORD
    for connect in (psycopg.connect, psycopg2.connect):
        with connect(settings.database_url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            assert cursor.fetchone() == ("crm",)
        connection.close()
    client = make_app(DATABASE_URL=given).test_client()
    assert client.post("/login", json={"email": "a@b.ch", "password": "x" * 8}).status_code == 401
    assert PsycopgConnector(conninfo=settings.database_url)

"""``flask users``, ``organizations``, ``keys`` and ``tokens``: who may call."""

import click

from crm.accounts import api_keys, sessions
from crm.accounts import users as accounts_users
from crm.cli.commands import Group, of_organization
from crm.operations import key_rotation

users = Group("users", help="People who sign in.")
organizations = Group("organizations", help="Tenants: each with its own users, keys and portal.")
keys = Group("keys", help="API keys of applications, and the keys that tokens are stored under.")
tokens = Group("tokens", help="Access tokens without a password.")


@users.command("create")
@click.argument("email")
@click.option("--role", type=click.Choice(accounts_users.ROLES), default="user", show_default=True)
@of_organization
@click.password_option(help="Asked for when left out, so that no shell remembers it.")
def create_user(email: str, role: str, organization: str, password: str) -> None:
    """Make a user who signs in with EMAIL."""
    accounts_users.create_user(email=email, password=password, role=role, organization=organization)
    click.echo(f"{email} may sign in as {role}.")


@users.command("promote")
@click.argument("email")
def promote_user(email: str) -> None:
    """Make the user with EMAIL an admin."""
    accounts_users.promote_user(email)
    click.echo(f"{email} is an admin.")


@organizations.command("create")
@click.argument("name")
@click.option("--identifier", help="What applications call it, such as org_123456.")
def create_organization(name: str, identifier: str | None) -> None:
    """Make an organization called NAME."""
    accounts_users.create_organization(name, identifier)
    click.echo(f"Organization {name} is there.")


@organizations.command("identify")
@click.argument("name")
@click.argument("identifier")
def identify_organization(name: str, identifier: str) -> None:
    """Let applications call the organization NAME by IDENTIFIER, and no longer by another."""
    accounts_users.set_identifier(name, identifier)
    click.echo(f"Applications may call {name} {identifier}.")


@keys.command("create")
@click.argument("name")
@of_organization
def create_key(name: str, organization: str) -> None:
    """Make a key for the application NAME, and print it for the only time."""
    click.echo(api_keys.create_key(name=name, organization=organization))


@keys.command("list")
def list_keys() -> None:
    """List all keys by how they begin."""
    for key in api_keys.list_keys():
        state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "in force"
        click.echo(f"{key.prefix}…  {key.organization}  {key.name}  {state}")


@keys.command("revoke")
@click.argument("prefix")
def revoke_key(prefix: str) -> None:
    """Refuse the key that begins with PREFIX from now on."""
    api_keys.revoke_key(prefix)
    click.echo("The key is refused from now on.")


@keys.command("rotate-encryption")
def rotate_encryption() -> None:
    """Store every token under the first of ENCRYPTION_KEYS; the others can go then."""
    done = key_rotation.rotate()
    click.echo(f"{done.rotated} stored under the first key; the rest was already.")
    if done.lost:
        click.echo(f"{done.lost} cannot be decrypted with any key; they must be connected again.")


@tokens.command("create")
@click.option("--role", type=click.Choice(accounts_users.ROLES), required=True)
@of_organization
def create_token(role: str, organization: str) -> None:
    """Print an access token that lasts an hour, for trying things out."""
    click.echo(sessions.create_token(role=role, organization=organization))

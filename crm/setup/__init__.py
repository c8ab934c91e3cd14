"""The first service of docker-compose.yml: writes what all others need, once, into volumes."""

"""The first service of docker-compose.yml: what every other one needs, written once into volumes."""

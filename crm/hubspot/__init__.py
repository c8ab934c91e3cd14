"""HubSpot's API over HTTP: knows neither Flask nor the database."""

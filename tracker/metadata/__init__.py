"""The cloud meta service: pure rules over a database connection, without trio."""

"""What connectors to brokers that speak Kafka's protocol share: a client, its failures, and messages as rows."""

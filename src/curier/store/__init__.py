"""Where durable state is kept: implementations that make batches of the journal survive."""

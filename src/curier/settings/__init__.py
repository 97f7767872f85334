"""The one table of settings: from it come file, options, environment, help, documentation and schema."""

"""The tests are a package of their own name: some libraries install a package called tests beside them."""

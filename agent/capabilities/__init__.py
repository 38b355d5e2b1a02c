"""What an employee can do in the world: typed actions behind BaseCapability."""

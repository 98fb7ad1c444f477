"""The laws ρ to factorise."""

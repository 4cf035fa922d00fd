"""What the supervisor is made of: the lock on var/, the programs, and the children that run them."""
